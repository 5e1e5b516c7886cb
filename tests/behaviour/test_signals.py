"""Signals around trapped calls, with and without SA_RESTART."""

from __future__ import annotations

STORM = """
hits = [0]
def handler(*_): hits[0] += 1
signal.signal(signal.SIGALRM, handler); signal.siginterrupt(signal.SIGALRM, %s)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
open("file", "w").close()
bad = []
def again(function, *args):
    while (result := function(*args)) == -1 and %s and ctypes.get_errno() == errno.EINTR: pass
    return result
buffer = ctypes.create_string_buffer(200)
for i in range(300):
    for what, *call in (("stat", libc.stat, b"file", buffer), ("access", libc.access, b"file", 4),
                        ("rename", libc.rename, b"file", b"file2"), ("back", libc.rename, b"file2", b"file"),
                        ("mkdir", libc.mkdir, b"d", 0o700), ("rmdir", libc.rmdir, b"d"),
                        ("link", libc.link, b"file", b"hard"), ("unlink", libc.unlink, b"hard")):
        if again(*call) != 0: bad.append((what, code(-1)))
    if (fd := again(libc.open, b"file", 0)) < 0: bad.append(("open", code(-1)))
    else: os.close(fd)
signal.setitimer(signal.ITIMER_REAL, 0)
print("bad", bad, "hit", hits[0] > 0)
"""


def test_a_storm_of_signals_changes_no_result_with_sa_restart(agree):
    assert agree.python(STORM % (False, False)).lines == ["bad [] hit True"]


def test_without_sa_restart_a_call_that_is_interrupted_was_not_done(agree):
    # A signal that comes before the supervisor has received the call ends it with EINTR, whatever
    # the call (kernel/seccomp.c:seccomp_do_user_notification(), wait_for_completion_interruptible).
    # Nothing can be done about that, but then the call had no effect and may be repeated.
    assert agree.python(STORM % (True, True)).lines == ["bad [] hit True"]


def test_calls_that_wait_are_interrupted_or_restarted_as_outside(agree, told):
    seen = told(
        agree.python("""
r, w = os.pipe(); os.mkfifo("fifo"); main = threading.main_thread().ident
signal.signal(signal.SIGALRM, lambda *_: None)
class Signals:
    "Sends one after the other, until whoever waits has got one in the middle of its wait."
    def __enter__(self): self.over = threading.Event(); self.thread = threading.Thread(target=self.run); self.thread.start()
    def __exit__(self, *_): self.over.set(); self.thread.join()
    def run(self):
        while not self.over.wait(0.02): signal.pthread_kill(main, signal.SIGALRM)
buffer = ctypes.create_string_buffer(1)
signal.siginterrupt(signal.SIGALRM, True)
with Signals(): print("open a FIFO ->", code(libc.open(b"fifo", 0)))
with Signals(): print("read ->", code(libc.read(r, buffer, 1)))
signal.siginterrupt(signal.SIGALRM, False)
def come():
    time.sleep(0.2); os.write(w, b"x"); os.close(os.open("fifo", os.O_WRONLY))
thread = threading.Thread(target=come); thread.start()
with Signals(): print("read on ->", code(libc.read(r, buffer, 1))); print("open on ->", libc.open(b"fifo", 0) > 0)
thread.join()
""")
    )
    assert seen["open a FIFO"] == seen["read"] == "EINTR"
    assert (seen["read on"], seen["open on"]) == ("1", "True")


def test_what_is_blocked_and_pending_stays_so(agree):
    outcome = agree.python("""
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM}); os.kill(os.getpid(), signal.SIGUSR1)
for _ in range(50): os.stat("/etc/passwd")
print(signal.sigpending(), signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.getsignal(signal.SIGPIPE))
""")
    assert "SIGUSR1" in outcome.lines[0]
