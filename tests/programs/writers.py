"""Writers of one SQLite database: ``writers.py JOURNAL COUNT NAME...`` prints what they made of it.

Each NAME is a process that moves money between accounts COUNT times, as two of them must not at
once; JOURNAL is sqlite's mode (wal, delete, truncate, persist). A database that is there is gone on
with. ``writers.py hold`` keeps it locked from when it says so until its input ends.
"""

from __future__ import annotations

import os
import sqlite3
import sys

ACCOUNTS = 10


def opened() -> sqlite3.Connection:
    return sqlite3.connect("bank.db", timeout=60, isolation_level=None)


def begin(journal: str) -> None:
    db = opened()
    assert db.execute(f"PRAGMA journal_mode={journal}").fetchone() == (journal,)
    db.execute("CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, money INTEGER)")
    db.execute("CREATE TABLE IF NOT EXISTS moved (who TEXT, n INTEGER, UNIQUE (who, n))")
    if not db.execute("SELECT count(*) FROM account").fetchone()[0]:
        db.executemany("INSERT INTO account VALUES (?, 100)", [(n,) for n in range(ACCOUNTS)])
    db.close()


def write(name: str, count: int) -> None:
    db = opened()
    for n in range(count):
        db.execute("BEGIN IMMEDIATE")
        for id, change in ((n % ACCOUNTS, -1), ((n + 3) % ACCOUNTS, 1)):
            (money,) = db.execute("SELECT money FROM account WHERE id=?", (id,)).fetchone()
            db.execute("UPDATE account SET money=? WHERE id=?", (money + change, id))
        db.execute("INSERT INTO moved VALUES (?, ?)", (name, n))
        db.execute("ROLLBACK" if n % 7 == 6 else "COMMIT")
    db.close()


def main(journal: str, count: int, names: list[str]) -> None:
    begin(journal)
    children = []
    for name in names:
        if not (pid := os.fork()):
            status = 1
            try:
                write(name, count)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    db = opened()
    print(ends, *db.execute("PRAGMA integrity_check").fetchone())
    print(*db.execute("SELECT sum(money), count(*) FROM account").fetchone())
    for who, n in db.execute("SELECT who, count(*) FROM moved GROUP BY who ORDER BY who"):
        print(who, n)


def hold() -> None:
    db = opened()
    db.execute("BEGIN EXCLUSIVE")
    print("held", flush=True)
    sys.stdin.read()
    db.execute("COMMIT")


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        hold()
    else:
        main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
