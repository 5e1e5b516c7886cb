"""Kill supervisors at random moments while a view works."""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from viewos_clients.session import Session
from viewosd.keeper import place

from .puppets import supervisor_of
from .waiting import LIMIT, until

ROOT = Path(__file__).resolve().parents[2]
LIVE = ROOT / "tests" / "live"
SERVICES = LIVE / "services_to_outlive.py"
AGAIN_S = 0.5
"""Up to so long after one supervisor is there it is killed."""


@dataclass
class Storm:
    """One run of the load, and what became of it.

    ``seconds``: from each kill to the successor's answer, where that was measured.
    """

    kills: int
    rearms: int
    output: str = ""
    status: int = -1
    killed: int = 0
    log: str = ""
    seconds: list[float] = field(default_factory=list)

    def report(self) -> str:
        line = f"{self.killed} kills, {self.rearms} re-arms"
        if self.seconds:
            middle, most = statistics.median(self.seconds), max(self.seconds)
            line += f"; successor answers after {middle:.2f} s, at most {most:.2f} s"
        return line

    @classmethod
    def run(cls, kills: int, rearms: int, seed: int, *, show: bool = False) -> Storm:
        """The load in a view whose supervisor is killed ``kills`` times."""
        directory = Path(tempfile.mkdtemp(prefix="viewos-storm-"))
        before = os.environ.get("VIEWOS_RUNTIME_DIR")
        os.environ["VIEWOS_RUNTIME_DIR"] = str(directory)
        try:
            storm = cls(kills, rearms)
            storm._blow(directory, random.Random(seed), show)
            return storm
        finally:
            if before is None:
                del os.environ["VIEWOS_RUNTIME_DIR"]
            else:
                os.environ["VIEWOS_RUNTIME_DIR"] = before
            shutil.rmtree(directory)

    def _blow(self, directory: Path, chance: random.Random, show: bool) -> None:
        stop = directory / "stop"
        script = (
            f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'clients'), str(ROOT / 'services')]!r};"
            "sys.argv[0] = 'viewos-run'; from viewos_clients.run import main; main()"
        )
        options = ["--no-rc", "-p", "misc,nodename=box", "-p", f"{SERVICES}:Works", "--"]
        load = [sys.executable, "-S", str(LIVE / "mixed_load.py"), str(stop), "viewed"]
        keeper = subprocess.Popen(
            [sys.executable, "-c", script, *options, *load],
            env=os.environ | {"VIEWOS_SUCCESSORS": str(self.kills + 10)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            until(stop.with_name("begun").exists, "the load")
            self._kill_again_and_again(keeper.pid, chance, show)
        finally:
            stop.touch()  # the load ends, and with it the view
            self.output = keeper.communicate(timeout=10 * LIMIT)[0]
        self.status = keeper.returncode
        until(lambda: not place.names(), "the end of the view")
        self.log = "".join(p.read_text() for p in directory.glob("*.log"))

    def _kill_again_and_again(self, keeper: int, chance: random.Random, show: bool) -> None:
        serverid = until(place.names, "the view").popitem()[0]
        pid, layer = 0, 0
        for number in range(self.kills):
            dead = pid
            pid = until(lambda d=dead: _other_than(d, keeper), "a supervisor")
            time.sleep(chance.uniform(0, AGAIN_S))
            begin = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            self.killed += 1
            if number % 4 == 0:  # the others are killed again whatever they are doing
                until(lambda: _serves(serverid), "the successor")
                self.seconds.append(time.monotonic() - begin)
                while layer < self.rearms * (number + 4) // self.kills:
                    _rearm(serverid, layer)
                    layer += 1
            if show and number % 20 == 19:
                print(f"{number + 1} kills", flush=True)


def _other_than(dead: int, keeper: int) -> int:
    pid = supervisor_of(keeper)
    return 0 if pid == dead else pid


def _serves(serverid: int) -> bool:
    try:
        with Session(serverid) as session:
            return bool(session.call("probe"))
    except OSError:
        return False


def _rearm(serverid: int, layer: int) -> None:
    text = f"{ROOT}/tests/programs/layers.py:L{layer}"
    with Session(serverid) as session:
        session.call("add", 0, text.encode(), False)
