"""Paths as names, without looking at any file system. Pure."""

from __future__ import annotations


def plain(path: bytes) -> bytes:
    """An absolute path without ``.``, ``..`` and ``//``; symbolic links are not looked at."""
    names: list[bytes] = []
    for name in path.split(b"/"):
        if name == b"..":
            del names[-1:]
        elif name not in (b"", b"."):
            names.append(name)
    return b"/" + b"/".join(names)
