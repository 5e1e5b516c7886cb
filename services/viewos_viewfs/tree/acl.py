"""What a new file gets of its directory's default access control list: acl(5).

The kernel leaves this to whoever serves a file system. The list that is stored where we make the
file does not do: it may be made in `work`, and renamed.

Source: fs/posix_acl.c:posix_acl_create_masq(); include/uapi/linux/posix_acl_xattr.h.
"""

from __future__ import annotations

import errno
import stat
import struct
from typing import Final

from .location import Location

ACCESS: Final = b"system.posix_acl_access"
DEFAULT: Final = b"system.posix_acl_default"
_HEAD: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")
_USER_OBJ, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x04, 0x10, 0x20
_SHIFT: Final = {_USER_OBJ: 6, _GROUP_OBJ: 3, _MASK: 3, _OTHER: 0}


def default_of(directory: Location) -> bytes:
    """A directory's default list; b"": it has none, or its file system has no lists."""
    try:
        return directory.getxattr(DEFAULT)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return b""
        raise


def inherited(default: bytes, mode: int) -> tuple[int, bytes]:
    """What a new file gets.

    Args:
        default: its directory's list.
        mode: as the program said it, no umask taken off.

    Returns:
        Its mode, and its access list: b"" where that says no more than the mode.
    """
    entries = list(_ENTRY.iter_unpack(default[_HEAD.size :]))
    tags = {tag for tag, _, _ in entries}
    group = _MASK if _MASK in tags else _GROUP_OBJ
    made = [default[: _HEAD.size]]
    for tag, perm, id in entries:
        if tag in (_USER_OBJ, _OTHER, group):
            shift = _SHIFT[tag]
            perm &= mode >> shift & 0o7
            mode &= ~(0o7 << shift) | perm << shift
        made.append(_ENTRY.pack(tag, perm, id))
    return mode, b"".join(made) if tags - {_USER_OBJ, _GROUP_OBJ, _OTHER} else b""


def give(there: Location, mode: int, default: bytes, access: bytes) -> None:
    """Write them to a new file that has its mode. Raises OSError."""
    if access:
        there.setxattr(ACCESS, access)
    if default and stat.S_ISDIR(mode):
        there.setxattr(DEFAULT, default)
