"""Count the files that programs open: viewos-run -p examples/count.py,report=/tmp/report -- ls"""

from collections import Counter

from viewosd import Service, Tracee, hook
from viewosd.syscalls import Open


class Count(Service):
    """Count what is opened, by program."""

    name = "count"

    def __init__(self, report: str) -> None:
        self.report, self.seen = report, Counter[str]()

    @hook(Open)
    def opened(self, call: Open, tracee: Tracee) -> None:
        # No verdict: the next service is asked, and at last the kernel opens the file.
        self.seen[tracee.command.decode(errors="replace")] += 1

    async def stop(self) -> None:
        with open(self.report, "w") as report:  # noqa: ASYNC230  (the last thing that happens)
            for program, count in self.seen.most_common():
                print(program, count, file=report)
