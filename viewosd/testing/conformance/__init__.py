"""Does a `FileTree` behave as a file system? Checks that any tree can be run against.

    @pytest.mark.parametrize("check", conformance.CHECKS, ids=conformance.name)
    def test_my_tree_conforms(check):
        with mounted(MyTree) as mount:
            check(mount.root)

or all at once, as root: ``python -m viewosd.testing.conformance module:Class``. Each check gets an
empty, writable directory of the tree and acts as programs do. What a tree does not offer raises
`NotOffered`; what it does wrong, AssertionError, in words. A tree that can't be written is checked
by `READING` alone. Source of what is right: POSIX.1-2024, and the man page of each call.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import attributes, files, looking, names
from .base import CHECKS, READING, Check, NotOffered, name

__all__ = [
    "CHECKS",
    "READING",
    "Check",
    "NotOffered",
    "attributes",
    "files",
    "looking",
    "name",
    "names",
    "run",
]


def run(make_root: Callable[[], Path], checks: list[Check] = CHECKS) -> dict[str, str]:
    """Run checks, each in a directory of its own.

    Args:
        make_root: an empty directory of the tree.

    Returns:
        For each check: "ok", "not offered: …", or what is wrong.
    """
    found = {}
    for check in checks:
        try:
            check(make_root())
            found[name(check)] = "ok"
        except NotOffered as error:
            found[name(check)] = f"not offered: {error}"
        except (AssertionError, OSError) as error:
            found[name(check)] = str(error) or repr(error)
    return found
