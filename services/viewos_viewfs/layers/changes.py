"""What a layer changes: one `Change` a name."""

from __future__ import annotations

import enum
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .entry import Entry


class Kind(enum.Enum):
    """How a name of the view differs from the target's."""

    ADDED = "added"
    MODIFIED = "modified"
    """Other content; perhaps other metadata too."""
    DELETED = "deleted"
    METADATA = "metadata"
    """Permissions, owner or extended attributes. Another time alone is no change."""
    TYPE = "type"
    """A file where a directory was, and the like."""


@dataclass(frozen=True, slots=True)
class Change:
    """One name.

    Attributes:
        path: from the target on, without a slash at its ends; "" is the target itself.
        new: what the view shows, None where it is deleted.
        old: what the target has, None where it has nothing.
        details: what of the metadata, in words.
        link: an earlier path of the layer that is the same file (a hard link).
        birth: the path in the layer whose age says since when the view has had its own.
    """

    path: str
    kind: Kind
    new: Entry | None
    old: Entry | None
    details: tuple[str, ...] = ()
    link: str | None = None
    birth: str = field(default="", compare=False)

    @property
    def entry(self) -> Entry:
        """The new one, else the old one."""
        found = self.new or self.old
        assert found is not None
        return found

    @property
    def makes_directory(self) -> bool:
        """There is a directory where none was."""
        new, old = self.new, self.old
        return new is not None and new.is_dir and (old is None or not old.is_dir)


def metadata(
    new: Entry, old: Entry, new_xattrs: Mapping[str, bytes], old_xattrs: Mapping[str, bytes]
) -> tuple[str, ...]:
    """How the metadata differ, in words; nothing: they are the same."""
    found = []
    if stat.S_IMODE(new.mode) != stat.S_IMODE(old.mode) and new.type != stat.S_IFLNK:
        found.append(f"mode {stat.S_IMODE(old.mode):04o} to {stat.S_IMODE(new.mode):04o}")
    if (new.uid, new.gid) != (old.uid, old.gid):
        found.append(f"owner {old.uid}:{old.gid} to {new.uid}:{new.gid}")
    for name in sorted(new_xattrs.keys() | old_xattrs.keys()):
        if name not in old_xattrs:
            found.append(f"with {name}")
        elif name not in new_xattrs:
            found.append(f"without {name}")
        elif new_xattrs[name] != old_xattrs[name]:
            found.append(f"other {name}")
    return tuple(found)


def as_row(change: Change, target: str) -> dict[str, Any]:
    """A change as ``--json`` shows it."""
    row: dict[str, Any] = {
        "kind": change.kind.value,
        "path": shown(target, change.path),
        "type": change.entry.word,
    }
    if change.kind is Kind.TYPE and change.old is not None:
        row["was"] = change.old.word
    if change.details:
        row["details"] = list(change.details)
    if change.link is not None:
        row["link"] = shown(target, change.link)
    return row


def as_line(change: Change, target: str) -> str:
    """A change as people read it: ``KIND PATH  (DETAILS)``; a directory ends with a slash."""
    notes = list(change.details)
    if change.kind is Kind.TYPE and change.old is not None and change.new is not None:
        notes.insert(0, f"{change.old.word} to {change.new.word}")
    if change.link is not None:
        notes.append(f"same file as {shown(target, change.link)}")
    path = printable(shown(target, change.path)) + ("/" if change.entry.is_dir else "")
    said = f"  ({printable(', '.join(notes))})" if notes else ""
    return f"{change.kind.value:<8} {path}{said}"


def shown(target: str, path: str) -> str:
    """The absolute path."""
    return f"{target.rstrip('/')}/{path}" if path else target


def printable(text: str) -> str:
    """One line that can't steer a terminal; bytes that are no UTF-8 stay as they are."""
    return "".join(c if c.isprintable() or "\udc80" <= c <= "\udcff" else "?" for c in text)
