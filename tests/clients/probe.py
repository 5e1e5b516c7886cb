"""Print what a program inherits, as JSON; run natively and in a view, and compared by test_run_inherit."""

import fcntl
import json
import os
import resource
import signal

me = {}
with open("/proc/self/status") as file:
    lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
for key in (
    "Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "CapInh", "CapPrm", "CapEff", "CapBnd",
    "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters", "Cpus_allowed",
):  # fmt: skip
    me[key] = lines.get(key)
# Python's own: it ignores these two at its start, in both runs.
me["pipe"] = signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
with open("/proc/self/environ", "rb") as file:
    me["environment"] = file.read().decode("latin-1")
me["cwd"] = os.readlink("/proc/self/cwd")
me["nice"] = os.nice(0)
me["policy"] = os.sched_getscheduler(0)
me["limits"] = {
    name: resource.getrlimit(getattr(resource, name))
    for name in dir(resource)
    if name.startswith("RLIMIT")
}
with open("/proc/self/oom_score_adj") as file:
    me["oom"] = file.read()
with open("/proc/self/cgroup") as file:
    me["cgroup"] = file.read()
me["group"], me["session"] = os.getpgrp(), os.getsid(0)
me["namespaces"] = {
    name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")
}
fds = {}
for number in range(1024):
    try:
        fds[number] = [os.readlink(f"/proc/self/fd/{number}"), fcntl.fcntl(number, fcntl.F_GETFL)]
    except OSError:
        pass
me["fds"] = fds
try:
    terminal = os.open("/dev/tty", os.O_RDWR)
except OSError as error:
    me["terminal"] = error.errno
else:
    me["terminal"], me["foreground"] = os.fstat(terminal).st_rdev, os.tcgetpgrp(terminal)
print(json.dumps(me, sort_keys=True))
