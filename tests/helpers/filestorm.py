"""Kill supervisors at random moments while a view's file tree is used."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .grounds import FUSE
from .puppets import supervisor_of
from .waiting import LIMIT, until

TESTS = Path(__file__).resolve().parents[1]
AGAIN_S = 0.5
"""Up to so long after one supervisor is there it is killed."""


@dataclass
class FileStorm:
    """One run of tests/live/filed_load.py, and what became of it.

    ``left``: what was left of the view when viewos-run had returned.
    """

    output: str = ""
    status: int = -1
    killed: int = 0
    log: str = ""
    rounds: str = ""
    left: list[str] = field(default_factory=list)

    @classmethod
    def run(
        cls, user: Any, place: Path, kills: int, seed: int, *, rounds_s: float = 1.0
    ) -> FileStorm:
        """The load in a view of the user's whose supervisor is killed ``kills`` times.

        Args:
            place: a directory that is not there yet.
        """
        storm = cls()
        _lay_out(place, user.uid)
        stop = place / "stop"
        options: list[str] = []
        for mode in ("cow", "mincow", "vstat"):
            words = "cow,vstat" if mode == "vstat" else mode
            options += ["--mount", f"viewfs,{words}", "none", str(place / mode)]
        options += ["--mount", "viewfs,merge", str(place / "upper"), str(place / "merge")]
        options += ["--hide", str(place / "plain" / "secret")]
        options += ["--bind", str(place / "bound"), str(place / "room" / "bound")]
        load = [*user.python, "-S", str(place / "filed_load.py"), str(stop), str(place)]
        own: list[str] = []
        if os.geteuid() == 0:
            own = ["unshare", "-m", "--propagation", "private", "sh", "-c", FUSE, "sh"]
            own.append(str(place / "device"))
        environment = user.environment | {
            "VIEWOS_SUCCESSORS": str(kills + 10),
            "VIEWOS_RUNTIME_DIR": str(place / "views"),
            "XDG_DATA_HOME": str(place / "data"),
        }
        keeper = subprocess.Popen(
            [*own, *user.prefix, *user.viewos_run, "--no-rc", *options, "--", *load],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until(stop.with_name("begun").exists, "the load")
            chance, pid = random.Random(seed), 0
            for number in range(kills):
                dead = pid
                pid = until(lambda d=dead: _other_than(d, keeper.pid), "a supervisor")
                if number and number % 4:  # the others are killed whatever they are doing
                    serves = f"supervisor {number + 1} of its view takes over"
                    until(lambda s=serves: s in _log(place), "a supervisor that serves")
                time.sleep(chance.uniform(0, AGAIN_S))
                os.kill(pid, signal.SIGKILL)
                storm.killed += 1
            time.sleep(rounds_s)
        finally:
            stop.touch()  # the load ends, and with it the view
            storm.output, storm.rounds = keeper.communicate(timeout=10 * LIMIT)
        storm.status = keeper.returncode
        storm.log = _log(place)
        layers = place / "data" / "viewos" / "layers"
        storm.left = sorted(p.name for p in layers.iterdir()) if layers.exists() else []
        until(lambda: not _helpers(place), "the end of the helpers")
        if (place / "room" / "missing").exists():
            storm.left.append("a mountpoint")
        return storm


def _lay_out(place: Path, uid: int) -> None:
    place.mkdir()
    place.chmod(0o755)
    for name in ("cow", "merge", "mincow", "vstat", "layered"):
        (place / name).mkdir()
        for number in range(3):
            (place / name / f"below-{number}").write_text("below")
    (place / "layered" / "below").write_text("below")
    names = (
        "upper plain room room/point room/bound bound covers covers/bound served device views data"
    )
    for name in names.split():
        (place / name).mkdir()
    (place / "views").chmod(0o700)
    for name in ("plain/secret", "bound/inside", "covers/bound/shown", "upper/upper"):
        (place / name).touch()
    shutil.copy(TESTS / "live" / "filed_load.py", place)
    if uid == os.geteuid() or os.geteuid() == 0:
        shutil.copy(TESTS / "programs" / "slowfuse.py", place)
    if os.geteuid() == 0:
        for path in (place, *place.rglob("*")):
            if path.name != "device":
                os.chown(path, uid, uid)


def _log(place: Path) -> str:
    return "".join(p.read_text() for p in (place / "views").glob("*.log"))


def _other_than(dead: int, keeper: int) -> int:
    pid = supervisor_of(keeper)
    return 0 if pid == dead else pid


def _helpers(place: Path) -> list[str]:
    """Processes that were begun with this storm's environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"VIEWOS_RUNTIME_DIR={place}/views".encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            pass
    return found
