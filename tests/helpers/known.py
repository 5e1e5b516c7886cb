"""Where files behave otherwise in a view than natively, and why: everything that there is.

Each entry: whom it concerns (kinds of `helpers.grounds`, or "*"; of whom: "root", "user" or both),
patterns of names of results, and the reason. A difference without an entry is a bug; an entry
that explains nothing in any kind that it names, too.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple


class Known(NamedTuple):
    """A difference that is as it must be."""

    kinds: str
    who: str
    names: str
    why: str


MOUNTS = "move tmpfs cow vstat mincow foreign merge real ram"
OURS = "vstat mincow foreign merge"

PATHS = (
    Known(
        MOUNTS,
        "root user",
        "openat2 no_xdev*",
        "the directory is a mount: what leads out of it and back crosses one, openat2(2)",
    ),
    Known(
        "*",
        "user",
        "access_control_lists*",
        "an id that the view's user namespace lacks can't be in a list: EINVAL (fs/posix_acl.c)",
    ),
    Known(
        "cow",
        "root user",
        "getcwd*|renames*",
        "overlayfs copies no directories up to rename them without redirect_dir: EXDEV, and mv(1) "
        "copies (overlayfs.rst, renaming directories)",
    ),
    Known("cow", "root user", "handles*", "overlayfs without nfs_export has no file handles"),
    Known(
        "cow",
        "root user",
        "hard_links_from_below *",
        "overlayfs without index breaks hard links on copy-up (overlayfs.rst, non-standard "
        "behavior)",
    ),
    Known(
        "cow",
        "user",
        "hard_links*",
        "overlayfs without trusted xattrs gives a new link of a file from below an inode of its "
        "own: 2 files to stat(2), ESTALE to rename(2)",
    ),
    Known(
        "cow",
        "root user",
        "mapping_that_reads_before_somebody_writes*",
        "a file from below that is mapped stays what it was when it is copied up (overlayfs.rst, "
        "non-standard behavior)",
    ),
    Known(
        "cow vstat foreign",
        "root user",
        "link_counts_of_directories*",
        "the links of a merged directory are not counted: 1, as overlayfs has it",
    ),
    Known(
        "vstat",
        "user",
        "devices*",
        "with vstat an ordinary user makes device nodes (docs/viewfs.md); they can't be opened",
    ),
    Known(
        "vstat",
        "user",
        "inherited_lists*",
        "no access control lists where the kernel does not check: ENOTSUP (docs/viewfs.md)",
    ),
    Known(
        "real ram",
        "root user",
        "access_control_lists*|inherited_lists*",
        "no access control lists: the kernel would not ask again for a mode that one has changed "
        "(docs/umfuse.md)",
    ),
    Known("vstat", "user", "owners 5", "with vstat an ordinary user gives files to anybody"),
    Known("merge", "root user", "unnamed_file*", "merge has no unnamed files; programs go without"),
    Known(
        "vstat",
        "user",
        "closed_directories*|modes*",
        "who owns the view may do what root may with virtual modes",
    ),
)

ERRNOS = (
    Known(
        "cow",
        "root user",
        "rename dir to: *|rename full to: *|rename from: closed*|rename from: d*|rename from: full*"
        "|exchange: closed*|exchange: d*|exchange: full*",
        "overlayfs copies no directories up to rename them without redirect_dir: EXDEV",
    ),
    Known("merge", "root user", "open RDWR?TMPFILE: *", "merge has no unnamed files"),
    Known(
        "mincow merge",
        "user",
        "r* to: closed|rmdir: closed|unlinkat: closed",
        "the server can't look into a directory that its owner closed: EACCES before ENOTEMPTY",
    ),
)


def known(table: tuple[Known, ...], kind: str, is_root: bool) -> list[Known]:
    """The entries for a kind of view."""
    return [
        entry
        for entry in table
        if (entry.kinds == "*" or kind in entry.kinds.split())
        and ("root" if is_root else "user") in entry.who.split()
    ]


def unexplained(found: dict[str, str], entries: list[Known]) -> list[str]:
    """Lines for what differs and is in no entry, and for entries that no difference is in."""
    lines, used = [], set()
    for name, values in found.items():
        matching = [e for e in entries if any(fnmatchcase(name, n) for n in e.names.split("|"))]
        used.update(matching)
        if not matching:
            lines.append(f"{name}: {values}")
    return lines + [f"does not happen any more: {entry}" for entry in entries if entry not in used]
