"""Makes the deaths of captives known while PTRACE_SEIZE waits for them.

PTRACE_SEIZE takes a mutex of the process, cred_guard_mutex (kernel/ptrace.c:ptrace_attach()). An
execve(2) holds it while it waits for the fellow threads to end, and those that are traced have not
ended before their tracer has waited for them (fs/exec.c:de_thread()). So a tracer that has seized
one thread of a process, and seizes the next while a third executes a program, waits for ever for
itself. No signal helps: the call is restarted after any (−ERESTARTNOINTR). A mend has been proposed
(O. Nesterov, "exec: don't wait for zombie threads with cred_guard_mutex held", November 2025) and
is not in Linux 6.18.

Any thread of a tracer may wait for its tracees, though only one may trace. So while
threads are seized another one of ours stands by and waits for the dead. It lives for that moment
only: no other task of the supervisor runs meanwhile, and nobody forks beside it.
"""

from __future__ import annotations

import threading
from typing import Final

from .captive import held

ROUND_S: Final = 0.005


class Undertaker:
    """Use as a context manager around what seizes, and tell it to `stand_by` before each."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def stand_by(self) -> None:
        """Begin to work, if anybody is seized already."""
        if held and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="undertaker", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while not self._over.wait(ROUND_S):
            for captive in list(held.values()):
                try:
                    captive.bury()
                except ProcessLookupError:
                    pass

    def __enter__(self) -> Undertaker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._over.set()
            self._thread.join()
