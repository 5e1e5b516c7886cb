"""Put a filter on processes that already run: re-arm a view, or attach to a stranger.

A filter can't be taken off, but it can be outgrown. The kernel allows one listener in a chain of
filters, but the listener may be closed: then a wider filter with a listener of its own can be put
on top, and as the newest of equal results wins, it hears everything. The dance:

    supervisor                           every thread of the view
    ----------                           ------------------------
    seize, interrupt                ->   stops at once, or waits for our answer
    answer what waits: −513         ->   stops
    (nobody new? else again)
    map memory, write the program   ->   one thread of each process: mmap(2)
    close the old listeners              (nobody is there to be told ENOSYS)
    install                         ->   prctl(2) if need be, seccomp(2) with TSYNC
    fetch the listener              <-   pidfd_getfd(2), then close(2) there
    let go                          ->   restarts its call, under the wider filter

All or nothing: what can fail (a debugger in the way, no memory, a foreign listener) is tried before
the old listeners are closed.

CVE-2026-89603 (until 6.18.51): a thread that TSYNC reaches while it is stopped inside a system call
entry runs that one call under the old filter. Ours are stopped on the way out, never there; the
call that they restart is looked at anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from .captive import CannotStop, Captive
from .crew import Crew
from .pump import Pump
from .sweep import Sweep

log = logging.getLogger("viewosd")


Visit = Callable[[int, dict[int, Captive]], None]
"""What is done with a process: its id, its threads by id. ProcessLookupError: it is gone."""


class ArmError(Exception):
    """Not everybody could be armed; the text names the process and the reason."""


async def arm(
    processes: Callable[[], Iterable[int]],
    bytecode: bytes,
    pump: Pump,
    close_old: Callable[[], bool],
    keep: Callable[[int], None],
    also: Visit | None = None,
) -> None:
    """Put a filter on every thread of some processes.

    Args:
        processes: asked again and again for the ids of all that shall be armed.
        bytecode: the program.
        pump: answers the calls that are in flight, and all others meanwhile.
        close_old: closes the listeners that these processes have now; were there any? Called when
            everybody stands still and nothing is expected to fail.
        keep: takes each new listener over, before any process goes on.
        also: called for each process in the end, while everybody stands still.

    Raises:
        ArmError: nothing was changed; or, if a process has a listener of somebody else, nothing
            that a program can notice.
    """
    failed = ""
    crews: list[Crew] = []
    try:
        async with Sweep(processes, pump) as sweep:
            try:
                _prepare(sweep, crews, bytecode, pump)
                closed = close_old()
                for crew in crews:
                    try:
                        crew.install(keep)
                    except ProcessLookupError:
                        continue  # killed meanwhile: nothing can be stopped from being killed
                    except (OSError, CannotStop) as error:
                        failed = failed or _text(error)
                        if not closed:
                            break
                        log.error("cannot arm: %s", error)  # the others have nobody to ask
                if also is not None and not failed:
                    _visit(sweep, also)
            finally:
                for crew in crews:
                    crew.finish()
    except (CannotStop, OSError) as error:
        failed = _text(error)
    if failed:
        raise ArmError(f"cannot arm the view: {failed}")


async def visit(processes: Callable[[], Iterable[int]], pump: Pump, also: Visit) -> None:
    """Stop every thread of some processes, and call ``also`` for each process.

    Raises:
        ArmError: somebody can't be stopped; nothing was done.
    """
    try:
        async with Sweep(processes, pump) as sweep:
            _visit(sweep, also)
    except (CannotStop, OSError) as error:
        raise ArmError(f"cannot stop the view: {_text(error)}") from None


def _visit(sweep: Sweep, also: Visit) -> None:
    for pid, captives in sweep.threads.items():
        try:
            if captives:
                also(pid, captives)
        except ProcessLookupError:
            continue


def _prepare(sweep: Sweep, crews: list[Crew], bytecode: bytes, pump: Pump) -> None:
    """Fill ``crews``. First come those with filters: if one of these fails, few were changed."""
    for pid, captives in sweep.threads.items():
        try:
            if captives:
                crew = Crew(pid, captives, bytecode, pump.answers.rewriter)
                crews.append(crew)
                crew.prepare()
        except ProcessLookupError:
            continue
    for crew in crews:
        try:
            crew.renounce()
        except ProcessLookupError:
            continue
    crews.sort(key=lambda crew: -crew.filters)


def _text(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
