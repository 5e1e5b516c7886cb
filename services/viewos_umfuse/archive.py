"""An archive as a directory, read with ratarmountcore: tar, zip, and what is compressed.

Read-only. Its process serves nothing else, so unpacking may block it. The index is kept in memory:
nothing is written beside the archive.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any, Final

from viewosd.filetree import ROOT, Attr, Context, Dirent, Entry, FileTree, Opened

_LINKS: Final = 40
"""Hard links that lead to hard links, at most: as many as symbolic ones, path_resolution(7)."""


class Archive(FileTree):
    """Serves one archive.

    Args:
        descriptors: of it, O_PATH.
        name: how it is called: its end says what it is, where its first bytes don't.
        password: of an encrypted one.
        recursive: archives in it are directories as well.
    """

    entry_s = attr_s = negative_s = float("inf")
    no_opendir = True
    cache_symlinks = True

    def __init__(
        self,
        descriptors: Sequence[int],
        name: str,
        password: str = "",
        recursive: bool = False,
    ) -> None:
        (fd,) = descriptors
        self._source = _open(f"/proc/self/fd/{fd}", name, password, recursive)
        os.close(fd)
        self._paths = {ROOT: "/"}
        self._numbers = {"/": ROOT}

    def destroy(self) -> None:
        self._source.__exit__(None, None, None)

    def lookup(self, parent: int, name: bytes, context: Context) -> Entry:
        path = os.path.join(self._paths[parent], os.fsdecode(name))
        info = self._source.lookup(path)
        if info is None:
            return Entry(0, Attr(0, 0))
        number = self._number(path)
        return Entry(number, self._attr(number, self._resolved(info)))

    def _number(self, path: str) -> int:
        """Numbers stay, for listings tell them as well: an archive is as large as it is."""
        number = self._numbers.setdefault(path, len(self._numbers) + ROOT)
        self._paths[number] = path
        return number

    def _info(self, node: int) -> Any:
        info = self._source.lookup(self._paths[node])
        if info is None:
            raise OSError(errno.ESTALE, "not in the archive")
        return self._resolved(info)

    def _resolved(self, info: Any) -> Any:
        """A hard link's file: the archive has it under the name that it was packed with first."""
        for _ in range(_LINKS):
            if not info.linkname or stat.S_ISLNK(info.mode):
                break
            found = self._source.lookup("/" + info.linkname.lstrip("./"))
            if found is None:
                raise OSError(errno.EIO, "a hard link to what is not in the archive")
            info = found
        return info

    def _attr(self, number: int, info: Any) -> Attr:
        size = (
            len(os.fsencode(info.linkname)) or info.size if stat.S_ISLNK(info.mode) else info.size
        )
        when = int(info.mtime * 1_000_000_000)
        mode = info.mode if stat.S_IFMT(info.mode) else info.mode | stat.S_IFREG
        return Attr(
            number, mode, 2 if stat.S_ISDIR(mode) else 1, info.uid, info.gid, size=size,
            atime_ns=when, mtime_ns=when, ctime_ns=when,
        )  # fmt: skip

    def getattr(self, node: int, handle: Any, context: Context) -> Attr:
        return self._attr(node, self._info(node))

    def readlink(self, node: int, context: Context) -> bytes:
        info = self._info(node)
        if info.linkname:
            return os.fsencode(info.linkname)
        return bytes(self._source.read(info, info.size, 0))  # zip has the target as the content

    def readdir(self, node: int, handle: Any, offset: int, context: Context) -> Iterator[Dirent]:
        path = self._paths[node]
        above = self._number(os.path.dirname(path))
        listed = [(".", node, stat.S_IFDIR), ("..", above, stat.S_IFDIR)]
        found = self._source.list_mode(path) or {}
        for name in found:
            kind = found[name] if isinstance(found, dict) else 0
            listed.append((name, self._number(os.path.join(path, name)), kind))
        for at in range(offset, len(listed)):
            name, number, kind = listed[at]
            yield Dirent(os.fsencode(name), number, kind, at + 1)

    def open(self, node: int, flags: int, context: Context) -> Opened:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EROFS, "archives are read")
        info = self._info(node)
        return Opened((self._source.open(info), info.size), keep_cache=True)

    def read(self, node: int, handle: Any, offset: int, size: int, context: Context) -> bytes:
        file, length = handle
        size = max(0, min(size, length - offset))
        file.seek(offset)
        parts = []
        while size > 0 and (part := file.read(size)):
            parts.append(part)
            size -= len(part)
        if size:
            raise OSError(errno.EIO, "the archive is cut off")
        return b"".join(parts)

    def release(self, node: int, handle: Any, owner: int) -> None:
        handle[0].close()

    def listxattr(self, node: int, context: Context) -> list[bytes]:
        return [os.fsencode(name) for name in self._source.list_xattr(self._info(node))]

    def getxattr(self, node: int, name: bytes, context: Context) -> bytes:
        value = self._source.get_xattr(self._info(node), os.fsdecode(name))
        if value is None:
            raise OSError(errno.ENODATA, "no such attribute")
        return bytes(value)


def _open(path: str, name: str, password: str, recursive: bool) -> Any:
    from ratarmountcore.mountsource.factory import open_mount_source

    logging.getLogger("ratarmountcore").setLevel(logging.WARNING)
    try:
        source = open_mount_source(
            open(path, "rb"),
            tarFileName=name,
            indexFilePath=":memory:",
            writeIndex=False,
            recursive=recursive,
            passwords=[password.encode()] if password else [],
        )
        # What is neither packed nor compressed comes back as itself, if its name says that it is.
        if list(source.list("/") or ()) == [name]:
            raise OSError(errno.EINVAL, f"{name} is no archive")
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EINVAL, f"{name} is no archive that can be read: {error}") from error
    return source
