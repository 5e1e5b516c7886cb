"""usage: mixed_load.py STOP [viewed]

A build, a data base, pipelines and, in a view with the service `Works`, threads that make calls:
all at once, round after round, until the file STOP exists; makes one named begun beside it. Prints each different output that each
of them had: one line each where nothing ever went wrong.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)  # its calls let other threads run, those of os do not

PARTS = 4
SQL = """
create table t(n integer primary key, square integer);
with recursive c(n) as (select 1 union all select n + 1 from c where n < 2000)
insert into t select n, n * n from c;
create index i on t(square);
select count(*), sum(square), max(n) from t where square % 3 = 1;
pragma integrity_check;
"""


def shell(line: str, place: str, text: str = "") -> str:
    done = subprocess.run(
        ["sh", "-euc", line], cwd=place, input=text, capture_output=True, text=True
    )
    return f"status {done.returncode} {done.stdout.strip()!r} {done.stderr.strip()!r}"


def build(place: str) -> str:
    for n in range(PARTS):
        text = f"int part{n}(int x) {{ return x * {n + 2} + {n}; }}\n"
        Path(place, f"part{n}.c").write_text(text)
    calls = "+".join(f"part{n}({n})" for n in range(PARTS))
    heads = "".join(f"int part{n}(int);" for n in range(PARTS))
    main = f'#include <stdio.h>\n{heads}int main(void) {{ printf("%d", {calls}); return 0; }}\n'
    Path(place, "main.c").write_text(main)
    said = shell("for f in *.c; do gcc -O1 -c $f; done; gcc -o main *.o; ./main", place)
    return said + " " + hashlib.sha256(Path(place, "main").read_bytes()).hexdigest()


def database(place: str) -> str:
    return shell("rm -f db; sqlite3 db", place, SQL)


def pipeline(place: str) -> str:
    return shell("seq 3000 | sort -r | tr 0-9 a-j | tee copy | sha256sum; wc -c < copy", place)


def calls(place: str) -> str:
    """What `Works` answers, and uname."""

    def one(name: str, *args: object) -> int:
        result = int(getattr(libc, name)(*args))
        return -ctypes.get_errno() if result == -1 else result

    seen = {
        one("times", None) == 4711,
        one("getsid", 5) == 6,
        one("getpgid", 1234) == os.getpgrp(),
        os.uname().nodename == "box",
        one("open", b"/nonexistent", os.O_RDONLY) == -errno.ENOENT,
    }
    with open("/virtual/file") as file:
        seen.add("class Works(Service)" in file.read())
    return str(seen)


def main() -> int:
    stop, viewed = Path(sys.argv[1]), sys.argv[2:] == ["viewed"]
    stop.with_name("begun").touch()
    jobs: list[Callable[[str], str]] = [build, database, pipeline, pipeline]
    if viewed:
        jobs += [calls] * 3
    found: dict[str, set[str]] = {job.__name__: set() for job in jobs}

    def work(job: Callable[[str], str], place: str) -> None:
        while True:
            try:
                found[job.__name__].add(job(place))
            except Exception as error:
                found[job.__name__].add(repr(error))
            if stop.exists():
                return

    with tempfile.TemporaryDirectory(prefix="viewos-load-") as place:
        threads = []
        for n, job in enumerate(jobs):
            own = os.path.join(place, str(n))
            os.mkdir(own)
            threads.append(threading.Thread(target=work, args=(job, own)))
            threads[-1].start()
        for thread in threads:
            thread.join()
    for name, outputs in found.items():
        for output in sorted(outputs):
            print(name, output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
