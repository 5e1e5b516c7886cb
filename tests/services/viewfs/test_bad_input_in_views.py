"""What can't be done is an errno that mount(8) explains, one line of ours, and loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from helpers.files import remove
from helpers.waiting import until
from viewosd.keeper.processes import descendants

WRONG = [
    ("hide", "none", "missing", "ENOENT", "there is no"),
    ("move", "missing", "a", "ENOENT", "there is no"),
    ("bind", "b", "missing/below/it", "ENOENT", "No such file"),
    ("cow", "none", "a/public", "ENOTDIR", "is no directory"),
    ("move", "b", "a/public", "ENOTDIR", "can't replace each other"),
    ("cow,mincow", "none", "a", "EINVAL", ""),
    ("cow,unknown", "none", "a", "EINVAL", "unknown"),
    ("hide", "none", "/", "EINVAL", "can't be hidden"),
    ("cow", "a", "a/sub", "ELOOP", "contains the target"),
    ("cow", "b", "a", "ENOTEMPTY", "holds other files"),
    ("cow", "memory/layer", "a", "ENOTSUP", "extended attributes"),
]


def test_each_mistake_has_its_errno_one_line_and_status_32(seat):
    (seat.place / "ask.py").write_text(f"""
import ctypes, errno, os, subprocess
libc = ctypes.CDLL(None, use_errno=True)
os.makedirs("memory")
subprocess.run(["mount", "-t", "ramfs", "none", "memory"], check=True)
os.mkdir("memory/layer")
for options, source, target, _, _ in {WRONG!r}:
    libc.mount(source.encode(), target.encode(), b"viewfs", 0, options.encode())
    print(errno.errorcode[ctypes.get_errno()])
    words = ["viewmount", "-t", "viewfs", "-o", options, source, target]
    done = subprocess.run(words, capture_output=True, text=True)
    print(done.returncode, done.stderr, end="")
""")
    options = ["--mount", "viewfs,hide", "none", str(seat.a / "secret")]
    said = seat.lines(*options, "python3 ask.py")
    assert len(said) == 2 * len(WRONG), said
    for (*words, name, why), code, line in zip(WRONG, said[::2], said[1::2], strict=True):
        found = (code, line.split()[0], why in line)
        assert found == (name, "32", True), (words, code, line)
    assert sorted(p.name for p in seat.a.iterdir()) == ["public", "secret", "sub"]


def test_a_bind_into_itself_is_no_loop(seat):
    script = "viewmount -t viewfs -o bind a a/sub; cat a/sub/public a/sub/sub/inner"
    assert seat.lines("--hide", "b/other", script) == ["public", "inner"]


@pytest.mark.parametrize("mode", ["cow", "cow,vstat", "mincow"])
def test_a_full_disk_in_a_copy_up_loses_nothing_and_goes_on_when_there_is_room(seat, mode):
    foreign = mode == "mincow"
    target = seat.foreign if foreign else seat.a
    big = target / "big"
    big.write_bytes(b"0123456789abcdef" * (1 << 18))  # 4 MiB
    if not foreign and os.geteuid() == 0:
        os.chown(big, seat.user.uid, seat.user.uid)
    if foreign and seat.user.uid == 0:
        pytest.skip("root writes what it may: nothing is copied")
    name = target.name
    # A served file system may say so when it is told to write back: by fsync(2), or close(2).
    (seat.place / "append.py").write_text(
        "import os, sys\n"
        "try:\n"
        "    fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)\n"
        "    os.write(fd, b'x')\n"
        "    os.fsync(fd)\n"
        "except OSError as error:\n"
        "    print(error.strerror)\n"
    )
    script = f"""
        mkdir room; mount -t tmpfs -o size=2m none room; mkdir room/layer
        viewmount -t viewfs -o {mode} {seat.place}/room/layer {name}
        python3 append.py {name}/big
        cmp {name}/big original && echo untouched
        mount -o remount,size=64m room
        echo x >> {name}/big && tail -c 2 {name}/big
        cmp {name}/big original 2>&1 | grep -o EOF
    """
    (seat.place / "original").write_bytes(big.read_bytes())
    options = ["--hide", "b/other"]
    assert seat.lines(*options, script) == ["No space left on device", "untouched", "x", "EOF"]
    assert big.read_bytes() == (seat.place / "original").read_bytes()


def test_a_layer_is_free_again_when_all_of_its_view_was_killed(seat):
    command = ["--cow", "a=@mine", "--", "sh", "-c", "echo kept > a/new; echo ready; sleep 100"]
    first = subprocess.Popen(
        [*seat.user.prefix, *seat.user.viewos_run, "--no-rc", *command],
        cwd=seat.place, env=seat.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert first.stdout is not None
    if first.stdout.readline() != "ready\n":
        pytest.skip("needs overlayfs, or /dev/fuse")
    assert "in use" in seat.refused("--cow", "a=@mine")
    everybody = [first.pid, *descendants(first.pid)]
    for pid in everybody:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    first.wait()
    first.stdout.close()
    until(lambda: not any(Path(f"/proc/{pid}/root/bin").exists() for pid in everybody), "the end")
    assert seat.lines("--cow", "a=@mine", "cat a/new") == ["kept"]


def test_names_that_are_no_text_are_hidden_and_changed_like_others(seat):
    names = [b"new\nline", b"\xff\xfe", b"back\\slash", b"sp ace", b"comma,colon:"]
    for name in names:
        path = os.path.join(bytes(seat.a), name)
        with open(path, "wb") as file:
            file.write(b"below")
        os.chown(path, seat.user.uid, seat.user.uid)
    script = """
import os
names = [b"new\\nline", b"\\xff\\xfe", b"back\\\\slash", b"sp ace", b"comma,colon:"]
print([os.path.exists(b"a/" + name) for name in names], len(os.listdir("a")))
for name in names[1:]:
    open(b"a/" + name, "ab").write(b"!")
    os.rename(b"a/" + name, b"a/" + name + b"'")
"""
    (seat.place / "script.py").write_text(script)
    hidden = os.fsdecode(os.path.join(bytes(seat.a), names[0]))
    assert seat.lines("--cow", "a", "--hide", hidden, "python3 script.py") == [
        "[False, True, True, True, True] 7"
    ]
    assert len(list(seat.a.iterdir())) == 8


def test_a_path_as_long_as_paths_can_be_and_forty_nested_mounts(seat):
    script = f"""
import os
libc = __import__("ctypes").CDLL(None, use_errno=True)
place = {bytes(seat.place)!r}
name = b"n" * 200
os.chdir(place)
while len(os.getcwdb()) + 1 + len(name) <= 4094:
    os.mkdir(name)
    os.chdir(name)
path = os.getcwdb() + b"/"
path += b"x" * (4095 - len(path))
os.mkdir(path[len(os.getcwdb()) + 1:])
print(len(path), libc.mount(b"none", path, b"viewfs", 0, b"tmpfs"), libc.umount2(path, 0))
print(libc.mount(b"none", path + b"x", b"viewfs", 0, b"tmpfs"), __import__("ctypes").get_errno())
os.chdir(place + b"/a")
for number in range(40):
    assert libc.mount(b"none", b"sub", b"viewfs", 0, b"tmpfs" if number % 2 else b"cow") == 0
    os.chdir("sub")
    os.mkdir("sub")
print(os.getcwd().count("sub"))
"""
    (seat.place / "script.py").write_text(script)
    assert seat.lines("--hide", "b/other", "python3 script.py") == ["4095 0 0", "-1 36", "40"]


def test_a_layer_and_a_target_that_are_deleted_in_use_hang_nobody(seat):
    layer = seat.own(seat.place / "layer")
    script = """
        echo new > a/new; touch ready; while [ ! -e go ]; do sleep 0.1; done
        ls a > listed 2>&1; echo again > a/again; cat a/public > read; echo done
    """
    words = ["--cow", f"a={layer}", "--", "sh", "-c", script]
    private = []
    if os.geteuid() == 0:
        from helpers.grounds import FUSE

        private = ["unshare", "-m", "--propagation", "private", "sh", "-c", FUSE, "sh"]
        private.append(str(seat.place / "device"))
    view = subprocess.Popen(
        [*private, *seat.user.prefix, *seat.user.viewos_run, "--no-rc", *words],
        cwd=seat.place, env=seat.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    until((seat.place / "ready").exists, "the program")
    remove(layer)
    (seat.place / "go").touch()
    out, _ = view.communicate(timeout=60)
    assert (out, view.returncode) == ("done\n", 0)
    assert sorted(p.name for p in seat.a.iterdir()) == ["public", "secret", "sub"]
