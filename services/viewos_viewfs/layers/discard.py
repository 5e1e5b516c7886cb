"""Forget a layer's changes."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from .entry import look
from .store import Layer
from .unsafe import open_beneath


def discard(layer: Layer) -> None:
    """Forget a layer's changes, and with them the layer: what we have made of it is removed.

    Raises:
        LayerError: no layer, or in use.
        OSError: something can't be removed; run it again.
    """
    layer.meta()
    with layer.held(alone=True):
        fd = os.open(layer.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Half of a layer must not be taken for a whole one: it is none without its changes.
            with suppress(FileNotFoundError):
                os.rename("upper", "gone", src_dir_fd=fd, dst_dir_fd=fd)
            for name in ("gone", "work", "mounts"):
                _remove_tree(fd, name)
            for name in ("origins.json", "meta.json", "lock"):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=fd)
        finally:
            os.close(fd)
        with suppress(OSError):  # the user has put something else into it
            os.rmdir(layer.path)


def _remove_tree(directory: int, name: str) -> None:
    """Remove a directory whose permissions may say no to its own owner (overlayfs's work/work)."""
    entry = look(directory, name)
    if entry is None:
        return
    stack = [name]
    while stack:
        path = stack[-1]
        if (
            stat.S_IMODE(os.stat(path, dir_fd=directory, follow_symlinks=False).st_mode) & 0o700
            != 0o700
        ):
            os.chmod(path, 0o700, dir_fd=directory)
        fd = open_beneath(directory, path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            inner = []
            for each in os.listdir(fd):
                found = look(fd, each)
                if found is not None and found.is_dir:
                    inner.append(f"{path}/{each}")
                else:
                    os.unlink(each, dir_fd=fd)
        finally:
            os.close(fd)
        if inner:
            stack += inner
        else:
            os.rmdir(stack.pop(), dir_fd=directory)
