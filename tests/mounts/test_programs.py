"""mount(8), umount(8), findmnt, df and programs of our own, in views of root and of a user."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import User
from helpers.waiting import until

from .conftest import Box

PROGRAMS = Path(__file__).parent.parent / "programs"

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("mount", "umount", "findmnt", "df"))), reason="needs util-linux"
)


@pytest.fixture(autouse=True)
def works(box: Box) -> None:
    """Skips where this machine has no mount namespaces for us."""
    done = box.run("true")
    if done.returncode == 125 and "file tree" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr


def test_a_tmpfs_is_seen_inside_and_nowhere_else(box: Box):
    point = box.path("point")
    script = """
        mount -t tmpfs -o size=1M,noexec scratch point
        touch point/inside
        findmnt -n -o SOURCE,FSTYPE,TARGET point
        df --output=source,fstype,size,target point | tail -1
        stat -f -c %T point
    """
    found = [line.split() for line in box.sh(script).splitlines()]
    assert found == [
        ["scratch", "tmpfs", str(point)],
        ["scratch", "tmpfs", "1024", str(point)],
        ["tmpfs"],
    ]
    assert os.listdir(point) == []
    if box.user.uid:
        shown = box.sh("mount -t tmpfs x point; findmnt -n -o OPTIONS point").strip().split(",")
        assert {"nosuid", "nodev"} <= set(shown)


def test_bind_rbind_remount_and_move(box: Box):
    for name in ("source/sub", "point", "other"):
        box.path(name)
    (box.place / "source/file").write_text("x")
    script = """
        mount -t tmpfs x source/sub; touch source/sub/inside
        mount --bind source point; echo point/*; ls point/sub
        umount point
        mount --rbind source point; ls point/sub
        umount -R point
        mount --bind source/sub point
        mount -o remount,bind,ro point
        touch point/new 2>&1 || echo refused
        touch source/sub/new
        mount --move point other 2>&1 || true  # a user's mount(8) can't tell utab of it
        ls other; ls point
        findmnt -n -o OPTIONS other | cut -d, -f1
        umount other
        umount source/sub
    """
    said = box.sh(script).splitlines()
    assert said[:2] == ["point/file point/sub", "inside"]
    assert "Read-only file system" in said[2]
    assert said[3] == "refused"
    assert said[-3:] == ["inside", "new", "ro"]


def test_propagation_is_shown_as_it_was_set(box: Box):
    box.path("point")
    script = """
        mount -t tmpfs x point
        for way in shared private slave unbindable; do
            mount --make-$way point; findmnt -n -o PROPAGATION point
        done
        mkdir point/a point/b
        mount --make-shared point
        mount --bind point point/a
        mount -t tmpfs y point/b
        findmnt -n -o TARGET | grep -c "/b$"
    """
    said = box.sh(script).split()
    assert said[:3] == ["shared", "private", "private"]
    assert said[3:] == ["private,unbindable", "2"] or said[-1] == "2"


def test_an_overlay_is_mounted_with_what_the_caller_names(box: Box):
    for name in ("lower", "upper", "work", "point"):
        box.path(name)
    (box.place / "lower/file").write_text("below")
    os.chown(box.place / "lower/file", box.user.uid, box.user.uid)
    script = """
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work merged point
        cat point/file; echo above > point/file; cat point/file lower/file upper/file
        rm point/file; test ! -e point/file; stat -c %t,%T,%F upper/file
        findmnt -n -o FSTYPE,SOURCE point
        umount point
    """
    done = box.run("sh", "-ec", script)
    if done.returncode and not os.path.exists("/sys/module/overlay"):
        pytest.skip("needs overlayfs")
    assert done.returncode == 0, done.stderr + box.log_text()
    assert done.stdout.splitlines() == [
        "belowabove", "belowabove", "0,0,character special file", "overlay merged",
    ]  # fmt: skip
    assert (box.place / "lower/file").read_text() == "below"


def test_umount_is_refused_while_busy_and_may_be_lazy(box: Box):
    box.path("point")
    script = """
        mount -t tmpfs x point
        cd point
        umount ../point 2>&1 && exit 1; echo $?
        umount -l ../point
        cd ..; ls point
        mount -t tmpfs x point; mount -t tmpfs y point
        findmnt -n -o SOURCE point | wc -l
        umount point; umount point; findmnt point || echo none
        umount point 2>&1 || echo $?
    """
    said = box.sh(script).splitlines()
    assert "busy" in said[0]
    assert said[1:4] == ["32", "2", "none"]
    assert said[-1] in ("1", "32")


def test_what_came_with_the_system_can_not_be_unmounted_by_a_user(box: Box):
    if box.user.uid == 0:
        pytest.skip("root may")
    assert "32" in box.sh("umount /proc 2>&1 || echo $?")
    assert os.path.exists("/proc/self")


def test_a_services_type_is_mounted_by_mount(box: Box):
    box.path("source")
    (box.place / "source/file").write_text("x")
    script = """
        mount -t same source made; ls made; touch made/new
        umount made; test ! -e made
        mount -t same -o ro source/file afile; cat afile; echo
        (echo x > afile) 2>/dev/null || echo refused
        umount afile; test ! -e afile
    """
    done = box.run("sh", "-c", script)
    assert done.stdout.split() == ["file", "x", "refused"], done.stderr + box.log_text()
    assert (box.place / "source/new").exists()


def test_a_permanent_mount_stays_until_the_view_ends(box: Box):
    box.path("source")
    script = """
        mount -t same -o permanent source made
        umount made 2>&1 || echo $?
        umount -l made 2>&1 || echo $?
        umount -f made 2>&1 || echo $?
        findmnt -n -o TARGET made
    """
    said = box.sh(script).splitlines()
    assert [line for line in said if line.isdecimal()] == ["32"] * 3
    assert said[-1] == str(box.place / "made")
    assert not (box.place / "made").exists()  # nothing is left


def test_mounts_and_mountpoints_end_with_the_view(box: Box):
    assert box.sh("mount -t tmpfs x made; mount -t tmpfs y made/inner; ls made") == "inner\n"
    assert os.listdir(box.place) == []


def test_mounts_outlive_a_supervisor(box: Box):
    box.path("source")
    script = """
        mount -t same source made; mount -t same -o permanent source kept; mount -t tmpfs x other
        kill -9 $PPID
        umount kept 2>&1 && exit 1; echo $?
        umount made; test -e made && exit 1
        mount -t same source made; umount made
        ls
    """
    done = box.run("sh", "-c", script)
    assert done.stdout.split()[-4:] == ["32", "kept", "other", "source"], done.stderr
    # Here the keeper does not wait for the supervisor's end.
    until(lambda: os.listdir(box.place) == ["source"], "the mountpoints to be taken away")


def test_a_mountpoint_where_the_user_may_not_write_is_the_views_own(box: Box):
    if box.user.uid == 0:
        pytest.skip("root may write everywhere")
    before = sorted(os.listdir("/usr"))
    script = "mount -t tmpfs x /usr/viewos-made; touch /usr/viewos-made/a; ls /usr; ls /usr/*-made"
    said = box.sh(script).split()
    assert said == [*sorted([*before, "viewos-made"]), "a"]
    assert sorted(os.listdir("/usr")) == before


def test_errors_are_explained_by_mount(box: Box):
    box.path("point")
    script = """
        mount -t unknowntype x point 2>&1 || echo $?
        mount --bind no point 2>&1 || echo $?
        mount -t tmpfs -o bogus=1 x point 2>&1 || echo $?
    """
    said = box.sh(script)
    assert "unknown filesystem type 'unknowntype'" in said
    assert "special device no does not exist" in said or "no: No such file" in said
    assert re.findall(r"(?m)^\d+$", said) == ["32"] * 3
    if box.user.uid:
        assert "bogus" in box.log_text()


def test_a_thousand_mounts_stay_usable(box: Box):
    box.path("point")
    program = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for i in range(1000):
    os.mkdir(f"d{i}")
    source, type, flags = ((b"point", None, 4096), (b"point", b"same", 0))[i % 2]
    assert not libc.mount(source, f"d{i}".encode(), type, ctypes.c_ulong(flags), None), i
print(sum(os.getcwd() in line for line in open("/proc/self/mounts")))
open("point/file", "w").close()
print(sum(os.listdir(f"d{i}") == ["file"] for i in range(1000)))
for i in reversed(range(1000)):
    assert not libc.umount2(f"d{i}".encode(), 0), i
print(sum(os.getcwd() in line for line in open("/proc/self/mounts")))
"""
    done = box.run("python3", "-c", program)
    assert (done.returncode, done.stdout.split()) == (0, ["1000", "1000", "0"]), (
        done.stderr + box.log_text()
    )


def test_a_program_of_the_new_calls(box: Box):
    shutil.copy(PROGRAMS / "newmount.py", box.place.parent / "newmount.py")
    done = box.run("python3", box.place.parent / "newmount.py")
    assert done.stdout.splitlines() == [
        "e tmpfs: Unknown parameter 'bogus'",
        "made ro tmpfs",
        "changed rw tmpfs ['inside']",
        "unmounted nothing",
        "served ro ['file']",
        "and gone False",
        "copied ro x",
        "moved x",
        "and gone False",
    ], done.stderr + box.log_text()


@pytest.mark.parametrize("flags", [(), ("-m32", "-static")], ids=["64 bits", "32 bits"])
def test_a_program_of_the_old_calls_of_any_width(box: Box, program, flags):
    done = box.run(program("oldmount", *flags))
    assert done.stdout.splitlines() == [
        "tmpfs: ok",
        "mkdir: ok",
        "remount: ok",
        "read only: Read-only file system",
        "no type: Invalid argument",
        "no such type: No such device",
        "no pointer: Bad address",
        "umount: ok",
        "served: ok",
        "detach: ok",
        "removed: No such file or directory",
    ], done.stderr + box.log_text()


def test_a_fuse_program_mounts_with_its_own_device(box: Box):
    opens = [*box.user.prefix, "python3", "-c", "import os; os.open('/dev/fuse', 2)"]
    if subprocess.run(opens, capture_output=True).returncode:
        pytest.skip("this user can't open /dev/fuse")
    shutil.copy(PROGRAMS / "fusemount.py", box.place.parent / "fusemount.py")
    done = box.run("python3", box.place.parent / "fusemount.py")
    assert done.stdout.splitlines() == ["mount ok", "0o40711 7", "['fuse.mine']", "umount 0"], (
        done.stderr + box.log_text()
    )


def test_a_namespace_of_ones_own_inside_is_the_kernels(box: Box):
    box.path("point")
    own = ["unshare", "-m"] if box.user.uid == 0 else ["unshare", "-Urm"]
    inner = "mount -t tmpfs inner point && findmnt -n -o SOURCE point; mount -t same / point"
    done = box.run(*own, "sh", "-c", inner + " 2>&1; findmnt -n -o SOURCE point | wc -l")
    if "unshare" in done.stderr:
        pytest.skip("needs a namespace inside a view")
    said = done.stdout.splitlines()
    assert (said[0], said[-1]) == ("inner", "1"), done.stderr
    assert "unknown filesystem type 'same'" in done.stdout


def test_who_has_no_right_inside_roots_view_may_not_mount(box: Box):
    if box.user.uid or not shutil.which("setpriv"):
        pytest.skip("needs root")
    box.path("point")
    (box.place / "point").chmod(0o777)
    for words in (["--reuid=65534"], ["--bounding-set=-sys_admin", "--inh-caps=-all"]):
        for type in ("same", "tmpfs"):
            done = box.run("setpriv", *words, "mount", "-t", type, "/", "point")
            assert done.returncode in (1, 32), done.stdout
            assert "denied" in done.stderr or "superuser" in done.stderr, done.stderr


def test_a_user_named_in_another_view_sees_nothing(box: Box, me: User):
    """Two views of one user have different trees."""
    box.path("point")
    assert box.sh("mount -t tmpfs x point; touch point/a; ls point") == "a\n"
    assert box.sh("ls point") == ""
