"""A service that kills its supervisor at a step of the re-arm that its loading causes.

``dies_arming.py:Dies,step=STEP``; getsid(2) returns 777 with it. STEP is one of `STEPS`. The file
``dies_arming.done`` beside this one says that it has done so: once only.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from viewosd import Return, Service, Tracee, Verdict, hook
from viewosd.runtime import crew
from viewosd.runtime.armory import Armory
from viewosd.runtime.injection import Injection
from viewosd.syscalls import getsid

DONE = Path(__file__).with_suffix(".done")
STEPS: dict[str, tuple[Any, str]] = {
    "prepared": (crew.Crew, "renounce"),
    "listeners closed": (crew.Crew, "install"),
    "filter installed": (crew.unsafe, "pidfd_getfd"),
    "listener fetched": (Armory, "serve"),
    "listener parked": (Injection, "__init__"),  # of the close(2) that comes then
    "armed": (crew.Crew, "finish"),
}


def _die(step: str) -> None:
    """Have the supervisor killed where a step begins."""
    place, name = STEPS[step]
    original = getattr(place, name)
    parked = False

    def note(*args: Any) -> Any:
        nonlocal parked
        parked = True
        return serve(*args)

    def killed(*args: Any) -> Any:
        if not DONE.exists() and (parked or step != "listener parked"):
            DONE.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)

    serve = Armory.serve
    if step == "listener parked":
        setattr(Armory, "serve", note)  # noqa: B010
    setattr(place, name, killed)


class Dies(Service):
    """getsid(2) returns 777."""

    name = "dies"

    def __init__(self, step: str) -> None:
        if not DONE.exists():
            _die(step)

    @hook(getsid)
    def answer(self, call: getsid, tracee: Tracee) -> Verdict:
        return Return(777)
