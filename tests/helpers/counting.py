"""Trees held against each other, and against what ``viewos diff`` says: `programs/census.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from helpers.grounds import Ground

ENGINES = {
    "overlayfs": ["--cow", "{work}=@kept"],
    "tree server": ["--mount", "viewfs,cow,vstat,layer=kept", "none", "{work}"],
}
"""Options of viewos-run: the layer ``kept`` over a ground's ``work``."""
PROGRAM = Path(__file__).resolve().parent.parent / "programs/census.py"

Census = dict[str, dict[str, Any]]


def census(directory: Path | str, *without: str) -> Census:
    """All of a tree by path, as whoever runs the tests sees it."""
    argv = [sys.executable, "-I", PROGRAM, directory, *without]
    found: Census = json.loads(subprocess.check_output(argv, timeout=600))
    return found


def census_inside(ground: Ground, engine: str, script: str, **more: Any) -> Census:
    """What ``work`` is when a shell script has run in it, in a view with the layer ``kept``.

    The script may write to standard error, which is shown if it fails.
    """
    options = [word.format(work=ground.work) for word in ENGINES[engine]]
    words = ["--", "sh", "-ec", f'{script}\n"$@"', "sh", ground.python, "-I", PROGRAM, ground.work]
    done = ground.run(*options, *words, **more)
    assert done.returncode == 0, done.stderr[-3000:] or done.stdout[-3000:]
    found: Census = json.loads(done.stdout)
    return found


def told_by_diff(ground: Ground) -> dict[str, str]:
    """What ``viewos diff`` says of the layer ``kept``."""
    done = ground.native("viewos", "diff", "--json", "--layer", "@kept")
    assert (done.returncode, done.stderr) == (1, "")
    return told(done.stdout, ground.work)


def but(tree: Census, *names: str) -> Census:
    """Without some of what is known of each file."""
    return {path: {n: e[n] for n in e if n not in names} for path, e in tree.items()}


def older(tree: Census, ns: int) -> Census:
    """Modification times from ``ns`` on are all one: nobody can know them."""
    return {p: e | {"mtime": e["mtime"] if e["mtime"] < ns else "since"} for p, e in tree.items()}


def unlike(one: Census, other: Census) -> list[str]:
    """What differs, a line each; [] if nothing does."""
    return [
        f"{path or '.'}: {_only(one.get(path), other.get(path))}"
        for path in sorted(one.keys() | other.keys())
        if one.get(path) != other.get(path)
    ]


def _only(one: dict[str, Any] | None, other: dict[str, Any] | None) -> str:
    if one is None or other is None:
        return f"{'is there' if one else 'missing'} -> {'is there' if other else 'missing'}"
    names = [n for n in one.keys() | other.keys() if one.get(n) != other.get(n)]
    return ", ".join(f"{n} {one.get(n)} -> {other.get(n)}" for n in sorted(names))


def changes(before: Census, after: Census) -> dict[str, str]:
    """What a layer that made ``after`` of ``before`` has to tell: docs/layers.md."""
    found = {path: "deleted" for path in before.keys() - after.keys()}
    for path, new in after.items():
        old = before.get(path)
        if old is None:
            found[path] = "added"
        elif old["kind"] != new["kind"]:
            found[path] = "type"
        elif old.get("content") != new.get("content") or _joined(path, before, after):
            found[path] = "modified"
        elif any(old[name] != new[name] for name in ("mode", "owner", "xattrs")):
            found[path] = "metadata"
    return found


def committed(before: Census, after: Census) -> Census:
    """What a target is when the layer that made ``after`` of it is committed: another time alone is
    no change.
    """
    changed = changes(before, after)
    busy = {*changed, *(path.rpartition("/")[0] for path in changed)}
    return {path: entry if path in busy else before[path] for path, entry in after.items()}


def _joined(path: str, before: Census, after: Census) -> bool:
    """It has become another name of a file."""
    first = after[path].get("same as", path)
    if first == path:
        return False
    there = before.get(first, {}).get("same as")
    return there is None or there != before[path].get("same as")


def told(rows: str, target: Path | str) -> dict[str, str]:
    """What ``viewos diff --json`` says, by path counted from the target."""
    found = {}
    for row in json.loads(rows):
        path = row["path"].removeprefix(str(target).rstrip("/")).lstrip("/")
        assert path not in found, f"{path} is told twice"
        found[path] = row["kind"]
    return found


def listed(kinds: dict[str, str], *, but: Iterable[str] = ()) -> list[str]:
    """As lines that can be compared; without some paths."""
    return sorted(f"{kind} {path}" for path, kind in kinds.items() if path not in but)
