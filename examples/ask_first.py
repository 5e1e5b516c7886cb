"""Somebody decides about each program: viewos-run -p examples/ask_first.py,directory=/tmp/ask -- sh

Before a program is executed a file with its name is made in ``directory``; whoever looks after it
writes "yes" or anything else into NAME.answer. ^C while it waits ends the wait.
"""

import errno
import os

import trio

from viewosd import CONTINUE, Errno, Service, Tracee, Verdict, hook
from viewosd.syscalls import execve


class AskFirst(Service):
    """Ask before a program runs."""

    name = "askfirst"

    def __init__(self, directory: str) -> None:
        self.directory = trio.Path(directory)

    # It may wait for hours, for somebody else: a signal for the tracee ends the call, as it ends
    # a read(2). Other calls are answered meanwhile.
    @hook(execve, deadline_s=None, interruptible=True)
    async def ask(self, call: execve, tracee: Tracee) -> Verdict:
        question = self.directory / os.path.basename(tracee.read_str(call.path)).decode()
        answer = question.with_name(question.name + ".answer")
        await question.touch()
        while not await answer.exists():  # noqa: ASYNC110  (a file tells nobody that it is there)
            await trio.sleep(0.05)
        return CONTINUE if (await answer.read_text()).strip() == "yes" else Errno(errno.EACCES)
