"""Options as users write them, split into the flags and the rest of a mount(2) call: mount(8)."""

from __future__ import annotations

from typing import Final

from viewosd.abi import mount as abi

_PLAIN: Final = {
    "ro": abi.MS_RDONLY, "nosuid": abi.MS_NOSUID, "nodev": abi.MS_NODEV,
    "noexec": abi.MS_NOEXEC, "sync": abi.MS_SYNCHRONOUS, "dirsync": abi.MS_DIRSYNC,
    "mand": abi.MS_MANDLOCK, "noatime": abi.MS_NOATIME, "nodiratime": abi.MS_NODIRATIME,
    "relatime": abi.MS_RELATIME, "strictatime": abi.MS_STRICTATIME, "lazytime": abi.MS_LAZYTIME,
    "nosymfollow": abi.MS_NOSYMFOLLOW, "silent": abi.MS_SILENT, "remount": abi.MS_REMOUNT,
    "rbind": abi.MS_BIND | abi.MS_REC,
    "shared": abi.MS_SHARED, "rshared": abi.MS_SHARED | abi.MS_REC,
    "slave": abi.MS_SLAVE, "rslave": abi.MS_SLAVE | abi.MS_REC,
    "private": abi.MS_PRIVATE, "rprivate": abi.MS_PRIVATE | abi.MS_REC,
    "unbindable": abi.MS_UNBINDABLE, "runbindable": abi.MS_UNBINDABLE | abi.MS_REC,
}  # fmt: skip
_OPPOSITE: Final = {
    "rw": abi.MS_RDONLY, "suid": abi.MS_NOSUID, "dev": abi.MS_NODEV, "exec": abi.MS_NOEXEC,
    "async": abi.MS_SYNCHRONOUS, "nomand": abi.MS_MANDLOCK, "atime": abi.MS_NOATIME,
    "diratime": abi.MS_NODIRATIME, "norelatime": abi.MS_RELATIME,
    "nostrictatime": abi.MS_STRICTATIME, "nolazytime": abi.MS_LAZYTIME,
    "symfollow": abi.MS_NOSYMFOLLOW, "loud": abi.MS_SILENT, "defaults": 0,
}  # fmt: skip
# Where a type is named, a service may have modes of these names, as viewfs has.
_UNLESS_TYPED: Final = {"bind": abi.MS_BIND, "move": abi.MS_MOVE}


def split(options: str, type: str) -> tuple[int, str]:
    r"""MS_* flags, and what is left for the file system. A comma after a backslash splits nothing.

    Args:
        options: ``ro,size=4M``.
        type: "" where none was named.
    """
    flags, rest = 0, []
    for option in _words(options):
        if option in _PLAIN:
            flags |= _PLAIN[option]
        elif option in _OPPOSITE:
            flags &= ~_OPPOSITE[option]
            if option == "rw" and type:
                # A service's type may be read-only unless it is said; the kernel's types take it:
                # fs/fs_context.c:vfs_parse_sb_flag().
                rest.append(option)
        elif not type and option in _UNLESS_TYPED:
            flags |= _UNLESS_TYPED[option]
        elif option:
            rest.append(option)
    return flags, ",".join(rest)


def _words(options: str) -> list[str]:
    words, escaped = [""], False
    for char in options:
        if char == "," and not escaped:
            words.append("")
        else:
            words[-1] += char
        escaped = char == "\\" and not escaped
    return words
