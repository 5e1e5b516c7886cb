"""``viewos mount``, ``umount`` and ``mounts``; ``viewmount``, ``viewumount`` and ``um_fsalias``.

The first three ask a view's supervisor, from wherever. View-OS's own two are real mount(2) and
umount2(2) calls of a process of the view: they go the way that every program's do.
"""

from __future__ import annotations

import argparse
import errno
import os
from argparse import Namespace
from typing import Any, Final

from .output import Outside, as_json, complain, run, table
from .session import inside, locate
from .shorthands import absolute, source_of

FAILED: Final = 32
"""Exit status of viewmount and viewumount where the kernel said no: mount(8), umount(8)."""
_MNT_FORCE, _MNT_DETACH = 1, 2  # include/linux/fs.h


def mount(asked: Namespace) -> int:
    """``viewos mount [-t TYPE] [-o OPTIONS] SOURCE DIRECTORY [VIEW]``; alone it lists."""
    if not asked.words:
        return mounts(Namespace(view=asked.view, json=asked.json))
    if len(asked.words) not in (2, 3):
        complain("viewos mount", "SOURCE and DIRECTORY are needed, and nothing else but a VIEW")
        return 2
    source, target, *view = asked.words
    session, id = locate(view[0] if view else asked.view)
    with session:
        given = (asked.type, os.fsencode(_options(asked)), os.fsencode(source_of(source)))
        session.call("mount", id, *given, absolute(target))
    return 0


def _options(asked: Namespace) -> str:
    return ",".join([*asked.options, *(["ro"] if asked.read_only else [])])


def umount(asked: Namespace) -> int:
    """``viewos umount [-f] [-l] DIRECTORY [VIEW]``"""
    session, id = locate(asked.view)
    with session:
        flags = _MNT_FORCE * asked.force | _MNT_DETACH * asked.lazy
        session.call("umount", id, absolute(asked.directory), flags)
    return 0


def mounts(asked: Namespace) -> int:
    """``viewos mounts [VIEW]``: what services have mounted, oldest first."""
    session, view = locate(asked.view)
    with session:
        rows = session.call("mounts", view)
    if asked.json:
        as_json(
            [{**row, "options": [[_text(n), _text(v)] for n, v in row["options"]]} for row in rows]
        )
    else:
        table(("target", "type", "source", "options"), map(_row, rows))
        for row in rows:
            if row["lost"]:
                complain("viewos", f"{_text(row['target'])} is lost: {row['lost']}")
    return 0


def _row(row: dict[str, Any]) -> dict[str, Any]:
    options = [
        _text(name) + (b"=" + value if value else b"").decode() for name, value in row["options"]
    ]
    options += ["permanent"] if row["permanent"] else []
    options += ["lost"] if row["lost"] else []
    texts = {key: _text(row[key]) for key in ("target", "source")}
    return {**row, **texts, "options": ",".join(options)}


def _text(raw: bytes) -> str:
    return os.fsdecode(raw)


# -- View-OS's own names


def viewmount() -> int:
    """``viewmount [-hr] [-t TYPE] [-o OPTIONS] SOURCE DIRECTORY``: mount in this view."""

    def body(args: list[str]) -> int:
        parser = argparse.ArgumentParser("viewmount", description="Mount in this view.")
        _add_mount_options(parser)
        parser.add_argument("source", metavar="SOURCE")
        parser.add_argument("directory", metavar="DIRECTORY")
        asked = parser.parse_args(args)
        _be_inside()
        from .mountflags import split
        from .unsafe import mount as call

        flags, data = split(_options(asked), asked.type)
        try:
            call(
                os.fsencode(source_of(asked.source)), os.fsencode(asked.directory),
                os.fsencode(asked.type) or None, flags, os.fsencode(data),
            )  # fmt: skip
        except OSError as error:
            why = _told(os.fsencode(asked.directory)) or _why_not_mounted(asked, error)
            complain("viewmount", f"{asked.directory}: {why}")
            return FAILED
        return 0

    return run("viewmount", body)


def viewumount() -> int:
    """``viewumount [-hfl] DIRECTORY``: unmount in this view."""

    def body(args: list[str]) -> int:
        parser = argparse.ArgumentParser("viewumount", description="Unmount in this view.")
        _add_umount_options(parser)
        parser.add_argument("directory", metavar="DIRECTORY")
        asked = parser.parse_args(args)
        _be_inside()
        from .unsafe import umount as call

        try:
            call(os.fsencode(asked.directory), _MNT_FORCE * asked.force | _MNT_DETACH * asked.lazy)
        except OSError as error:
            why = {
                errno.EBUSY: "target is busy",
                errno.EINVAL: "not mounted",
                errno.ENOENT: "no mount point specified",
                errno.EPERM: "must be superuser to unmount",
            }.get(error.errno or 0, error.strerror)
            complain("viewumount", f"{asked.directory}: {why}")
            return FAILED
        return 0

    return run("viewumount", body)


def fsalias() -> int:
    """``um_fsalias ALIAS [TYPE]``: another name for a mount type; without TYPE it is forgotten."""

    def body(args: list[str]) -> None:
        parser = argparse.ArgumentParser("um_fsalias", description=fsalias.__doc__)
        parser.add_argument("alias", metavar="ALIAS")
        parser.add_argument("type", metavar="TYPE", nargs="?", default="")
        asked = parser.parse_args(args)
        session = inside()
        if session is None:
            raise Outside
        with session:
            session.call("fsalias", None, asked.alias, asked.type)

    return run("um_fsalias", body)


def _add_mount_options(parser: argparse.ArgumentParser) -> None:
    for names, options in MOUNT_OPTIONS:
        parser.add_argument(*names, **options)


def _add_umount_options(parser: argparse.ArgumentParser) -> None:
    for names, options in UMOUNT_OPTIONS:
        parser.add_argument(*names, **options)


MOUNT_OPTIONS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (("-t", "--type"), {"metavar": "TYPE", "default": "", "help": "a service's, or the kernel's"}),
    (
        ("-o", "--options"),
        {"metavar": "OPTION,...", "action": "append", "default": [], "help": "as of mount(8)"},
    ),
    (("-r", "--read-only"), {"action": "store_true", "help": "the same as -o ro"}),
)
UMOUNT_OPTIONS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (("-f", "--force"), {"action": "store_true", "help": "even if it does not answer"}),
    (("-l", "--lazy"), {"action": "store_true", "help": "out of sight now, gone when unused"}),
)


def _be_inside() -> None:
    """Raises Outside: there the call would be about the whole system."""
    session = inside()
    if session is None:
        raise Outside
    session.close()


def _told(directory: bytes) -> str:
    """What the view's supervisor knows beside the errno."""
    session = inside()
    if session is None:
        return ""
    with session:
        return str(session.call("why", None, directory))


def _why_not_mounted(asked: Namespace, error: OSError) -> str:
    """What mount(8) says for an errno of mount(2)."""
    if error.errno == errno.ENOENT:
        if not os.path.lexists(asked.directory):
            return "mount point does not exist"
        return f"special device {asked.source} does not exist"
    return {
        errno.EPERM: "permission denied",
        errno.EACCES: "permission denied",
        errno.EBUSY: f"{asked.source} already mounted or mount point busy",
        errno.ENODEV: f"unknown filesystem type '{asked.type}'",
        errno.ENOTBLK: f"{asked.source} is not a block device",
        errno.ENOTDIR: "mount point is not a directory",
        errno.EINVAL: f"wrong fs type, bad option, bad superblock on {asked.source}",
    }.get(error.errno or 0, error.strerror or str(error))
