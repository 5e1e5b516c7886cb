"""Tools of every day: what they print and leave is the same inside and outside."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from helpers.alike import Alike, needs

DATES = {
    "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "PATH": os.environ["PATH"],
}
GIT = """
set -e
git -c init.defaultBranch=main init -q origin
cd origin
git config user.name A; git config user.email a@example.org; git config gc.auto 0
for i in 1 2 3 4 5 6 7 8; do
    mkdir -p d$i; seq $i 400 > d$i/f$i; ln -s ../d1/f1 d$i/link
    git add -A; git commit -q -m "commit $i"
done
chmod +x d3/f3; rm d4/f4; echo new > untracked; git mv d5/f5 d5/moved
git status --short
git log --oneline --stat | head -40
cd ..
git clone -q origin copy
git -C copy status
git -C copy log -1 --format=%H
git -C copy fsck --full
git -C copy diff HEAD~3 --stat
git -C origin stash -q -u; git -C origin status --short; git -C origin stash pop -q
git clone -q --no-local --bare origin bare.git
git -C bare.git cat-file --batch-check --batch-all-objects
"""


def test_git_makes_commits_clones_and_tells_its_status(alike: Alike) -> None:
    needs("git")
    # An index holds inode numbers, a log the time.
    varying = ["*/.git/index", "*/logs/*"]
    ours = alike.check("sh", "-c", GIT, env=DATES, ignore=varying)
    assert b"commit 8" in ours.stdout


def make_a_project(work: Path) -> None:
    names = [f"part{i}" for i in range(24)]
    for i, name in enumerate(names):
        lines = "".join(
            f"static int f{k}(int x) {{ return x * {k + i} + {k}; }}\n" for k in range(60)
        )
        total = " + ".join(f"f{k}(x)" for k in range(60))
        (work / f"{name}.c").write_text(f"{lines}int {name}(int x) {{ return {total}; }}\n")
    declared = "".join(f"int {n}(int);\n" for n in names)
    total = " ^ ".join(f"{n}(argc)" for n in names)
    (work / "main.c").write_text(
        f'#include <stdio.h>\n{declared}int main(int argc, char **argv) {{ printf("%d\\n", {total}); }}\n'
    )
    objects = " ".join(f"{n}.o" for n in [*names, "main"])
    (work / "Makefile").write_text(
        f"all: program lib.a\nprogram: {objects}\n\tgcc -o $@ $^\n"
        f"lib.a: {objects}\n\tar rcsD $@ $^\n%.o: %.c\n\tgcc -O1 -c -o $@ $<\n"
    )


def test_make_builds_a_program_with_four_jobs(alike: Alike) -> None:
    needs("gcc", "make")
    script = "make -s -j4 && ./program && nm lib.a | tail -5"
    alike.check("sh", "-c", script, prepare=make_a_project)


def test_a_compiler_error_is_told_as_outside(alike: Alike) -> None:
    needs("gcc")
    alike.check("sh", "-c", "echo 'int main(){ return x; }' > a.c; gcc a.c", status=1)


TAR = r"""
set -e
mkdir -p tree/deep/er; seq 1 1000 > tree/file; ln -s file tree/symlink; ln tree/file tree/hard
ln -s /nowhere tree/dangling; mkfifo tree/fifo; truncate -s 3M tree/sparse
printf x | dd of=tree/sparse bs=1 seek=1M conv=notrunc status=none
printf name > "$(printf 'tree/b\351te')"; chmod 4711 tree/deep/er; chmod 600 tree/file
python3 -c 'import os; os.setxattr("tree/file", "user.note", b"hello")'
tar --xattrs --sparse --sort=name --mtime=@0 -cf a.tar tree
mkdir out; tar --xattrs --same-permissions -xf a.tar -C out
tar -tvf a.tar
du -k out/tree/sparse
tar -czf a.tgz --sort=name --mtime=@0 tree; tar -xzf a.tgz -O tree/file | tail -1
find out -printf '%P %y %m %s %l\n' | sort
"""


def test_tar_keeps_attributes_holes_and_links(alike: Alike) -> None:
    # The archive holds the times of a sparse file.
    alike.check("sh", "-c", TAR, ignore=["a.tar"])


def test_dd_copies_and_counts(alike: Alike) -> None:
    script = "dd if=/dev/zero bs=64k count=40 of=a 2>&1 | head -2; dd if=a iflag=fullblock bs=1M 2>/dev/null | sha256sum"
    alike.check("sh", "-c", script)


def test_find_walks_usr(alike: Alike) -> None:
    alike.check(
        "find", "/usr/share/doc", "/usr/bin", "/usr/include", "-xdev", "-printf", "%p %s %y %l\n"
    )


def test_sort_with_many_temporary_files(alike: Alike) -> None:
    script = "seq 1 200000 | sort -R --random-source=/bin/ls -S 1M -T . --parallel=4 | sort -n -S 1M -T . | md5sum"
    alike.check("sh", "-c", script)


def test_locale_and_iconv(alike: Alike) -> None:
    alike.check(
        "sh",
        "-c",
        r"locale; locale -a | head -5; printf 'b\351te' | iconv -f latin1 -t utf8 | od -c",
    )


def test_ssh_tells_its_version(alike: Alike) -> None:
    needs("ssh")
    alike.check("ssh", "-V")


def test_rsync_copies_a_tree(alike: Alike) -> None:
    needs("rsync")
    alike.check(
        "sh", "-c", "mkdir a; seq 1 999 >a/f; ln -s f a/l; rsync -a a/ b/; rsync -ain a/ b/; ls b"
    )


def test_apt_get_downloads_a_package(alike: Alike, tmp_path: Path) -> None:
    needs("apt-get")
    tried = subprocess.run(
        ["apt-get", "download", "hello"], cwd=tmp_path, capture_output=True, timeout=100
    )
    if tried.returncode:
        pytest.skip(f"apt-get can't download here: {tried.stderr[-120:]!r}")
    alike.check("sh", "-c", "apt-get download -q hello >/dev/null && ls && dpkg-deb -I *.deb")


SQLITE = """
set -e
sqlite3 a.db 'PRAGMA journal_mode=WAL; CREATE TABLE t(x INTEGER PRIMARY KEY, y TEXT);' >/dev/null
writer() {
    i=0
    while [ $i -lt 40 ]; do
        sqlite3 -cmd '.timeout 60000' a.db "BEGIN IMMEDIATE; INSERT INTO t(y) VALUES('$1-$i'); COMMIT;"
        i=$((i+1))
    done
}
writer one & writer two & wait
sqlite3 a.db 'SELECT count(*) FROM t; SELECT y FROM t ORDER BY y LIMIT 5; PRAGMA integrity_check; PRAGMA journal_mode;'
sqlite3 a.db 'PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE;'
exec 3>lock
flock 3
flock -n lock -c 'echo taken' || echo locked
"""


def test_sqlite_with_two_writers_and_a_log(alike: Alike) -> None:
    needs("sqlite3", "flock")
    # Who came first is in the file.
    alike.check("sh", "-c", SQLITE, ignore=["a.db"])
