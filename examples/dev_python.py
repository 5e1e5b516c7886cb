"""Every python3 runs in development mode: viewos-run -p examples/dev_python.py -- make test"""

import os

from viewosd import Rewrite, Service, Tracee, hook
from viewosd.syscalls import execve


class DevPython(Service):
    """Run python3 with -X dev, whoever starts it."""

    name = "devpython"

    @hook(execve)
    def run(self, call: execve, tracee: Tracee) -> Rewrite | None:
        if not os.path.basename(tracee.read_str(call.path)).startswith(b"python3"):
            return None
        name, *words = tracee.read_strs(call.argv)
        if words[:2] == [b"-X", b"dev"]:
            return None
        # Strings and lists are put into the tracee's memory; everything else stays as it was.
        return Rewrite(call.replace(argv=[name, b"-X", b"dev", *words]))
