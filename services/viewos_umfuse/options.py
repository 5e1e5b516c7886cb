"""The options of a umfuse mount: ours, and the program's. Pure."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from .programs import Program

_FLAGS: Final = ("showcall", "nosource", "debug", "human")
_VALUES: Final = ("prog", "pre", "post", "format", "fuseuid", "fusegid")
# Of View-OS's library, the runtime or mount(8), and no program's business.
_IGNORED: Final = (
    "hard_remove", "fsdebug", "permanent", "defaults", "user", "users", "owner", "group", "auto",
    "noauto", "nofail", "_netdev",
)  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """One mount, as it was asked for.

    Attributes:
        writable: ``rw`` or ``rw+`` was said, and ``ro`` was not.
        readonly: ``ro`` was said.
        prog: the program of type umfuse.
        pre, post: words of the command line, in front of all others and after them.
        format: the order of the others; "": the program's own.
        showcall: write the command line to the log.
        nosource: the program takes no source.
        debug: the program is to tell what it does.
        human: the kernel checks permissions, by the modes that the program tells.
        rest: everything else goes to the program, in order.
    """

    writable: bool = False
    readonly: bool = False
    prog: str = ""
    pre: tuple[str, ...] = ()
    post: tuple[str, ...] = ()
    format: str = ""
    showcall: bool = False
    nosource: bool = False
    debug: bool = False
    human: bool = False
    rest: tuple[str, ...] = field(default=())


def parse(options: Iterable[tuple[str, str]], *, readonly: bool = False) -> Wish:
    """The wish in a request's options.

    Args:
        readonly: mount(8) makes a flag of ``ro``.

    Raises:
        OSError: EINVAL, and which option is wrong.
    """
    flags: set[str] = set()
    values: dict[str, str] = {}
    rest: list[str] = []
    writable = False
    for name, value in options:
        if name in ("rw", "rw+", "ro") and not value:
            writable = writable or name != "ro"
            readonly = readonly or name == "ro"
        elif name in _FLAGS and not value:
            flags.add(name)
        elif name in _VALUES:
            if name in values or not value:
                raise invalid(f"{name}= is given " + ("without a value" if not value else "twice"))
            values[name] = value
        elif name not in _IGNORED:
            rest.append(f"{name}={value}" if value else name)
    for name, option in (("fuseuid", "uid"), ("fusegid", "gid")):
        if name in values:
            if not values[name].isdecimal():
                raise invalid(f"{name}={values[name]} is no number")
            rest.append(f"{option}={values[name]}")
    return Wish(
        writable=writable and not readonly,
        readonly=readonly,
        prog=values.get("prog", ""),
        pre=_words("pre", values),
        post=_words("post", values),
        format=_format(values.get("format", "")),
        rest=tuple(rest),
        **{name: name in flags for name in _FLAGS},
    )


def command(
    program: Program, wish: Wish, source: str, target: str, owner: tuple[int, int]
) -> list[str]:
    """The command line.

    Args:
        owner: user and group of the view. Other users may use what root mounts; who is not root
            owns all of an image that is to be written, for the kernel lets nobody write what
            belongs to a user whom it can't name in the view.
    """
    options = [*wish.rest, *program.always]
    if owner[0] and wish.writable and program.owned:
        said = {option.partition("=")[0] for option in wish.rest}
        ids = zip(("uid", "gid"), owner, strict=True)
        options += [f"{name}={id}" for name, id in ids if name not in said]
    options += program.writable if wish.writable else program.readonly if program.image else ()
    if not program.image and wish.readonly:
        options += program.readonly
    if wish.human:
        options.append("default_permissions")
    if not owner[0] and program.everybody:
        options.append("allow_other")
    joined = ",".join(option.replace("\\", "\\\\").replace(",", "\\,") for option in options)
    parts = {
        "%O": [*program.foreground, *(["-d"] if wish.debug else []), "-o", joined],
        "%S": [] if wish.nosource else [source],
        "%M": [target],
    }
    if not joined:
        del parts["%O"][-2:]
    ordered = [
        word for one in (wish.format or program.order).split() for word in parts.get(one, [one])
    ]
    return [program.name, *program.first, *wish.pre, *ordered, *wish.post]


def shown(words: Sequence[str]) -> str:
    """A command line, as it could be typed."""
    return shlex.join(words)


def invalid(why: str) -> OSError:
    """EINVAL, in words."""
    return OSError(errno.EINVAL, f"umfuse: {why}")


def _words(name: str, values: dict[str, str]) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(values.get(name, "")))
    except ValueError as error:
        raise invalid(f"{name}={values[name]}: {error}") from None


def _format(text: str) -> str:
    known = ("%O", "%S", "%M")
    if unknown := [w for w in text.split() if w.startswith("%") and w not in known]:
        raise invalid(f"format={text}: there are {', '.join(known)}, and no {unknown[0]}")
    if text and "%M" not in text.split():
        raise invalid(f"format={text}: without %M the program does not know where to mount")
    return text
