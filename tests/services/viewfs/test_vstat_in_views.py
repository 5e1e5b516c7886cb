"""Virtual owners, set-id bits and devices under real programs of an ordinary user."""

from __future__ import annotations

import io
import tarfile

import pytest

VSTAT = ("--mount", "viewfs,cow,vstat", "none", "a")
ALIEN = (  # name, type, mode, uid, gid, device
    ("alien", tarfile.DIRTYPE, 0o2750, 2000, 4000, (0, 0)),
    ("alien/char", tarfile.CHRTYPE, 0o620, 0, 5, (42, 44)),
    ("alien/block", tarfile.BLKTYPE, 0o660, 0, 6, (7, 300)),
    ("alien/fifo", tarfile.FIFOTYPE, 0o600, 2000, 4000, (0, 0)),
    ("alien/link", tarfile.SYMTYPE, 0o777, 2000, 4000, (0, 0)),
    ("alien/root", tarfile.REGTYPE, 0o4755, 0, 0, (0, 0)),
    ("alien/theirs", tarfile.REGTYPE, 0o2640, 2000, 100000, (0, 0)),
)


def archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, mode, uid, gid, (major, minor) in ALIEN:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = kind, mode, uid, gid
            info.devmajor, info.devminor, info.mtime = major, minor, 1_000_000_000
            data = name.encode() if kind == tarfile.REGTYPE else b""
            info.size, info.linkname = len(data), "root" if kind == tarfile.SYMTYPE else ""
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def members(data: bytes) -> list[tuple[object, ...]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return sorted(
            (
                m.name, m.type, m.mode, m.uid, m.gid,
                (m.devmajor, m.devminor) if m.isdev() and not m.isfifo() else (0, 0),
            )
            for m in tar
        )  # fmt: skip


@pytest.fixture
def seat(nobodys_seat):
    (nobodys_seat.place / "home" / "alien.tar").write_bytes(archive())
    return nobodys_seat


UNPACK = "cd a; tar --same-owner -xpf ../home/alien.tar; "


def test_an_alien_archive_is_reproduced(seat):
    lines = seat.lines(
        *VSTAT,
        UNPACK + "stat -c '%n %f %u %g %t:%T' alien alien/*; "
        "ls -ln alien | awk 'NR > 1 {print $1, $3, $4}'; tar cf ../home/back.tar alien; "
        "cp -a alien ../a/copy; mv alien gone; mv copy alien; tar cf ../home/copy.tar alien",
    )
    assert lines[:7] == [
        "alien 45e8 2000 4000 0:0", "alien/block 61b0 0 6 7:12c", "alien/char 2190 0 5 2a:2c",
        "alien/fifo 1180 2000 4000 0:0", "alien/link a1ff 2000 4000 0:0",
        "alien/root 89ed 0 0 0:0", "alien/theirs 85a0 2000 100000 0:0",
    ]  # fmt: skip
    assert lines[7:] == [
        "brw-rw---- 0 6", "crw--w---- 0 5", "prw------- 2000 4000", "lrwxrwxrwx 2000 4000",
        "-rwsr-xr-x 0 0", "-rw-r-S--- 2000 100000",
    ]  # fmt: skip
    for name in ("back", "copy"):
        data = (seat.place / "home" / f"{name}.tar").read_bytes()
        assert members(data) == sorted(ALIEN)
    assert not (seat.a / "alien").exists()


def test_owners_are_changed_by_every_call(seat):
    script = (
        "import os, stat\n"
        "os.chdir('a'); t = open('new', 'w'); f = t.fileno()\n"
        "def ids(s): return s.st_uid, s.st_gid, oct(s.st_mode)\n"
        "print(os.fstat(f).st_uid == os.getuid())\n"
        "os.chown('new', 0, 7); print(ids(os.stat('new')))\n"
        "os.chmod('new', 0o6755); print(ids(os.fstat(f)))\n"
        "os.fchown(f, 2000, -1); print(ids(os.fstat(f)))\n"
        "os.symlink('new', 'l'); os.lchown('l', 1, 2); print(ids(os.lstat('l')), ids(os.stat('l')))\n"
        "print(os.readlink('l'))\n"
        "d = os.open('.', os.O_RDONLY)\n"
        "os.chown('new', -1, 9, dir_fd=d); print(ids(os.stat('new', dir_fd=d)))\n"
        "os.mknod('dev', 0o020666, os.makedev(42, 44)); s = os.lstat('dev')\n"
        "print(stat.S_ISCHR(s.st_mode), s.st_uid == os.getuid(), os.major(s.st_rdev), oct(s.st_mode))\n"
        "try: os.mknod('dev', 0o060666, 0)\n"
        "except OSError as e: print(e.strerror)\n"
        "os.chown('new', os.getuid(), os.getgid()); print(os.stat('new').st_uid == os.getuid())\n"
    )
    done = seat.run(*VSTAT, "--", "/usr/bin/python3", "-c", f"import os; os.umask(0o22)\n{script}")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "True", "(0, 7, '0o100644')", "(0, 7, '0o106755')", "(2000, 7, '0o100755')",
        "(1, 2, '0o120777') (2000, 7, '0o100755')", "new", "(2000, 9, '0o100755')",
        "True True 42 0o20644", "File exists", "True",
    ]  # fmt: skip


def test_a_32_bit_program_is_told_as_well(seat, program):
    stats = program("stats", "-m32")
    lines = seat.lines(*VSTAT, UNPACK + f"{stats} alien/root alien/char alien/link")
    told = [line for line in lines if " ids " in line]
    assert told
    for line in told:
        link = line.startswith("lstat alien/link")
        wanted = "ids 0 5" if "alien/char" in line else "ids 2000 4000" if link else "ids 0 0"
        assert wanted in line


def test_files_elsewhere_are_as_ever(seat):
    script = (
        "import os\n"
        "for p in ('b/other', '/etc/passwd', '/dev/null', '/proc/self', '/', '/nothing', 'foreign/f'):\n"
        "    try: print(p, tuple(os.lstat(p))[:2], tuple(os.stat(p))[3:7])\n"
        "    except OSError as e: print(p, e.errno)\n"
        "try: os.chown('b/other', 2000, 2000)\n"
        "except OSError as e: print(e.errno)\n"
        "try: os.mknod('b/dev', 0o020666, 1)\n"
        "except OSError as e: print(e.errno)\n"
    )
    words = ("--", "/usr/bin/python3", "-c", script)
    with_it = seat.run(*VSTAT, *words)
    without = seat.run("-p", "viewfs", *words)
    assert with_it.stderr == without.stderr == ""
    shown = [
        [line for line in done.stdout.splitlines() if not line.startswith("/proc")]
        for done in (with_it, without)
    ]
    assert shown[0] == shown[1]


def test_after_umount_the_kernel_answers_again(seat):
    lines = seat.lines(
        *VSTAT,
        "touch a/x; chown 2000 a/x; stat -c %u a/x; viewumount a; ls a; stat -c %u a/public; "
        "chown 2000 a/public 2>/dev/null || echo refused",
    )
    assert lines == ["2000", "public", "secret", "sub", str(seat.user.uid), "refused"]


def test_a_branch_and_a_successor_know_the_owners(seat):
    inner = " ".join([*seat.user.viewos_run, "--no-rc", "--", "stat", "-c", "%u"])
    lines = seat.lines(
        *VSTAT,
        f"touch a/x; chown 2000 a/x; {inner} a/x; kill -9 $(vuname -U); stat -c %u a/x",
    )
    assert lines == ["2000", "2000"]


def test_a_program_that_runs_already_is_told_after_the_mount(seat):
    lines = seat.lines(
        "-p",
        "viewfs",
        "viewmount -t viewfs -o cow,vstat none a; touch a/x; chown 2000 a/x; test -O a/x || echo no",
    )
    assert lines == ["no"]


def test_a_kept_layer_keeps_them(seat):
    mount = ("--mount", "viewfs,cow,vstat,layer=@kept", "none", "a")
    seat.lines(*mount, UNPACK)
    assert seat.lines(*mount, "stat -c '%u %g' a/alien a/alien/char") == ["2000 4000", "0 5"]
