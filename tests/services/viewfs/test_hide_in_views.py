"""Hidden names under real programs, as root and as an ordinary user."""

from __future__ import annotations

import os

import pytest

EVERY_CALL = """
import errno, os, socket, sys
path = os.fsencode(sys.argv[1])
def code(call, *args, **more):
    try: call(*args, **more)
    except OSError as error: return errno.errorcode[error.errno]
    return "done"
here = os.open(os.path.dirname(path), os.O_RDONLY)
name = os.path.basename(path)
s = socket.socket(socket.AF_UNIX)
for label, call, args, more in (
    ("stat", os.stat, (path,), {}), ("lstat", os.lstat, (path,), {}),
    ("statat", os.stat, (name,), {"dir_fd": here}),
    ("open", os.open, (path, os.O_RDONLY), {}), ("write", os.open, (path, os.O_WRONLY), {}),
    ("opendir", os.listdir, (path,), {}),
    ("access", os.access, (path, 0), {}), ("chmod", os.chmod, (path, 0o700), {}),
    ("chown", os.chown, (path, -1, -1), {}), ("truncate", os.truncate, (path, 0), {}),
    ("utime", os.utime, (path,), {}), ("readlink", os.readlink, (path,), {}),
    ("unlink", os.unlink, (path,), {}), ("rmdir", os.rmdir, (path,), {}),
    ("from", os.rename, (path, path + b"2"), {}), ("link", os.link, (path, path + b"2"), {}),
    ("getxattr", os.getxattr, (path, "user.x"), {}), ("listxattr", os.listxattr, (path,), {}),
    ("chdir", os.chdir, (path,), {}), ("statvfs", os.statvfs, (path,), {}),
    ("exec", os.execv, (path, ["x"]), {}), ("connect", s.connect, (path,), {}),
    ("below", os.stat, (path + b"/x",), {}),
    ("proc", os.stat, (b"/proc/self/root" + path,), {}),
    ("cwd", os.stat, (b"/proc/self/cwd/" + name,), {}),
):
    if label == "access":
        print(label, "ENOENT" if not os.access(*args) else "done")
    else:
        print(label, code(call, *args, **more))
"""


@pytest.mark.parametrize("name", ["secret", "sub"])
def test_every_call_says_that_it_is_not_there(seat, name):
    script = f"cd a && {' '.join(seat.user.python)} -c '{EVERY_CALL}' {seat.a}/{name}"
    lines = seat.lines("--hide", f"a/{name}", script)
    assert len(lines) == 25
    # What the kernel says of a directory before it asks the file system anything.
    known = ["write EISDIR", "truncate EISDIR", "readlink EINVAL", "exec EACCES"]
    odd = [line for line in lines if not line.endswith(" ENOENT")]
    assert odd == (known if name == "sub" else [])
    assert (seat.a / "secret").read_text() == "secret\n"


def test_no_listing_has_it_and_outside_it_is_there(seat):
    lines = seat.lines(
        "--hide", "a/secret", "--hide", "a/sub", "ls -a a; find a; cd a; echo *; ls /proc/self/cwd/"
    )
    assert lines == [".", "..", "public", "a", "a/public", "public", "public"]
    assert sorted(p.name for p in seat.a.iterdir()) == ["public", "secret", "sub"]


def test_a_descriptor_that_was_opened_before_lists_without_it(seat):
    script = (
        "import os, subprocess\n"
        "fd = os.open('a', os.O_RDONLY)\n"
        "print(sorted(os.listdir(fd)))\n"
        "subprocess.run(['mount', '-t', 'viewfs', 'none', 'a/secret', '-o', 'hide'], check=True)\n"
        "print(sorted(os.listdir(fd)))\n"
    )
    if seat.user.uid:
        pytest.skip("mount(8) asks for root itself")
    done = seat.run("-p", "viewfs", "--", "/usr/bin/python3", "-c", script)
    assert (done.stdout, done.stderr) == (
        "['public', 'secret', 'sub']\n['public', 'sub']\n",
        "",
    )


def test_a_32_bit_program_does_not_see_it(seat, program):
    source = program("names", "-m32")
    assert source  # compiled: this machine runs 32-bit programs
    lines = seat.lines("--hide", "a/secret", "busybox ls a 2>/dev/null || ls a")
    assert lines == ["public", "sub"]


def test_it_can_be_made_again_as_the_views_own_and_taken_away(seat):
    lines = seat.lines(
        "--hide",
        "a/secret",
        "echo mine > a/secret; cat a/secret; ls a; rm a/secret; ls a; cat a/secret 2>&1; "
        "ln -s /dev/null a/secret; readlink a/secret; rm a/secret; "
        "mkfifo a/secret; test -p a/secret && echo fifo; rm a/secret; ls a",
    )
    assert lines == [
        "mine", "public", "secret", "sub", "public", "sub",
        "cat: a/secret: No such file or directory", "/dev/null", "fifo", "public", "sub",
    ]  # fmt: skip
    assert (seat.a / "secret").read_text() == "secret\n"


def test_a_hidden_directory_can_be_made_again(seat):
    lines = seat.lines(
        "--hide",
        "a/sub",
        "mkdir -m 750 a/sub; ls a/sub; stat -c %a a/sub; echo x > a/sub/y; "
        "rmdir a/sub 2>/dev/null || echo full; rm a/sub/y; rmdir a/sub; ls a; mkdir -p a/sub/deep; "
        "find a/sub",
    )
    assert lines == ["750", "full", "public", "secret", "a/sub", "a/sub/deep"]
    assert (seat.a / "sub" / "inner").read_text() == "inner\n"


def test_modes_and_flags_of_open_are_kept(seat):
    script = (
        "import errno, os\n"
        "p = 'a/secret'\n"
        "fd = os.open(p, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o444)\n"
        "os.write(fd, b'x'); print(oct(os.fstat(fd).st_mode), os.get_inheritable(fd))\n"
        "try: os.open(p, os.O_CREAT | os.O_EXCL | os.O_RDWR)\n"
        "except OSError as e: print(errno.errorcode[e.errno])\n"
        "print(os.stat(p).st_uid == os.getuid(), open(p).read())\n"
    )
    done = seat.run("--hide", "a/secret", "--", "/usr/bin/python3", "-c", script)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["0o100444 False", "EEXIST", "True x"]


def test_an_editor_that_renames_over_it_finds_what_it_wrote(seat):
    lines = seat.lines(
        "--hide",
        "a/secret",
        "echo one > a/t; mv a/t a/secret; cat a/secret; echo two > a/t; mv a/t a/secret; "
        "cat a/secret; sed -i s/two/three/ a/secret; cat a/secret; ls a; "
        "mv a/secret a/moved; cat a/moved; ls a; rm a/moved",
    )
    assert lines == [
        "one", "two", "three", "public", "secret", "sub", "three", "moved", "public", "sub",
    ]  # fmt: skip
    assert (seat.a / "secret").read_text() == "secret\n"


def test_where_the_owner_may_not_write_nothing_can_be_made(nobodys_seat):
    seat = nobodys_seat
    lines = seat.lines(
        "--hide",
        "foreign/f",
        "(echo x > foreign/f) 2>&1 | sed s/.*:.//; mkdir foreign/f 2>&1 | sed s/.*:.//",
    )
    assert lines == ["Permission denied", "Permission denied"]


def test_a_bind_mount_of_the_directory_does_not_show_it(seat):
    lines = seat.lines("--bind", "a", "b", "--hide", "a/secret", "ls a b; cat b/secret 2>&1")
    assert lines == [
        "a:", "public", "sub", "", "b:", "public", "sub", "cat: b/secret: No such file or directory",
    ]  # fmt: skip


def test_a_branch_begins_with_what_is_hidden(seat):
    inner = " ".join([*seat.user.viewos_run, "--no-rc", "--", "sh", "-c"])
    lines = seat.lines(
        "--hide", "a/secret", f"{inner} 'ls a; echo x > a/secret; cat a/secret'; ls a"
    )
    assert lines == ["public", "sub", "x", "public", "sub"]


def test_a_successor_knows_what_is_hidden_and_what_was_made(seat):
    lines = seat.lines(
        "--hide",
        "a/secret",
        "--hide",
        "a/sub",
        "echo mine > a/secret; kill -9 $(vuname -U); ls a; cat a/secret; rm a/secret; ls a; "
        "echo again > a/secret; cat a/secret; ls -d a/sub 2>&1",
    )
    assert lines == [
        "public", "secret", "mine", "public", "again",
        "ls: cannot access 'a/sub': No such file or directory",
    ]  # fmt: skip


def test_unmounting_shows_it_again(seat):
    lines = seat.lines("--hide", "a/secret", "ls a; viewumount a/secret; ls a; cat a/secret")
    assert lines == ["public", "sub", "public", "secret", "sub", "secret"]


def test_what_is_not_there_can_not_be_hidden_nor_can_the_root(seat):
    assert "there is no" in seat.refused("--hide", "a/nothing")
    assert not os.path.lexists(seat.a / "nothing")
    assert "the root can't be hidden" in seat.refused("--hide", "/")


def test_a_program_that_stands_in_a_hidden_directory_stays_there(seat):
    lines = seat.lines(
        "-p",
        "viewfs",
        "cd a/sub; viewmount -t viewfs -o hide none .; cat inner; ls; ls ../sub 2>&1",
    )
    assert lines[:2] == ["inner", "inner"]
    assert lines[2].endswith("No such file or directory")


def test_what_is_hidden_stays_hidden_below_an_overlay(seat):
    look = "ls a; cat a/secret 2>&1; ls -A a/sub 2>&1"
    gone = [
        "public",
        "cat: a/secret: No such file or directory",
        "ls: cannot access 'a/sub': No such file or directory",
    ]
    hidden = ("--hide", "a/secret", "--hide", "a/sub")
    for mode in ("--cow a", "--mount viewfs,mincow none a"):
        assert seat.lines(*hidden, *mode.split(), f"{look}; rm a/public; ls -A a") == gone[0:3]
        (seat.a / "public").write_text("public\n")
