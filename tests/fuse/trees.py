"""The memory tree in other manners: methods that wait, caches that the kernel writes back; errors."""

from __future__ import annotations

import inspect

import trio

from viewosd.abi import stat
from viewosd.filetree import FileTree
from viewosd.testing.memory_tree import MemoryTree


def slowly(method):
    async def wrapped(self, *args):
        await trio.lowlevel.checkpoint()
        result = method(self, *args)
        await trio.lowlevel.checkpoint()
        return list(result) if inspect.isgenerator(result) else result

    return wrapped


def asynchronous(cls: type[FileTree]) -> type[FileTree]:
    """The same tree, each method of which waits before and after."""
    methods = {
        name: slowly(getattr(cls, name))
        for name in vars(FileTree)
        if inspect.isfunction(getattr(cls, name)) and name != "forget"
        and getattr(cls, name) is not getattr(FileTree, name)
    }  # fmt: skip
    return type("Async" + cls.__name__, (cls,), methods)


AsyncMemoryTree = asynchronous(MemoryTree)


class WritebackTree(MemoryTree):
    writeback = True


class NoOpenTree(MemoryTree):
    no_open = no_opendir = True

    create = FileTree.create


class KillprivTree(MemoryTree):
    killpriv = True

    def setattr(self, node, change, handle, context):
        attr = super().setattr(node, change, handle, context)
        if change.kill_suidgid:
            attr.mode &= ~stat.S_ISUID
            if attr.mode & 0o010:
                attr.mode &= ~stat.S_ISGID
        return attr


def errno_of(call, *args):
    """What a call failed with; 0 if it did not."""
    try:
        call(*args)
    except OSError as error:
        return error.errno
    return 0
