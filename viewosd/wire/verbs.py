"""The one table of what may be asked, by whom, with what.

The supervisor's decoders (`viewosd.runtime.control`) and the clients' own checks are made from it.
Add a verb here, its handler in `viewosd.runtime.verbs`; a test keeps the two together.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

PROTOCOL: Final = 1
"""Raised when a message changes its meaning. New verbs do not raise it: "no-such-verb" tells."""

_U32: Final = (1 << 32) - 1


class Who(Enum):
    """Who may ask. Every caller's uid is the owner's or 0 before this is looked at."""

    ANYBODY = "anybody of the uid"
    OWNER = "owner"
    """Outside, or inside the named view or one that it was branched from: a branch may not change
    what it came from."""
    INSIDE = "inside"
    """A process of some view of this supervisor."""


class Kind:
    """What one parameter may be: its type, and bounds of its value or its length."""

    __slots__ = ("high", "low", "optional", "type")

    def __init__(self, type: Any, low: float, high: float, optional: bool = False) -> None:
        self.type, self.low, self.high, self.optional = type, low, high, optional

    def accepts(self, value: object) -> bool:
        """True where the supervisor would take ``value``; items of a list are not looked at."""
        if value is None:
            return self.optional
        if isinstance(value, bool):
            return self.type is bool
        if isinstance(value, int | float):
            kinds = (int, float) if self.type is float else (self.type,)
            return type(value) in kinds and self.low <= value <= self.high
        origin = getattr(self.type, "__origin__", self.type)
        if isinstance(value, str | bytes | list | dict) and isinstance(value, origin):
            return self.low <= len(value) <= self.high
        return False


class Verb:
    """One row: who may ask, how many descriptors ride along, the parameters in order."""

    __slots__ = ("descriptors", "params", "who")

    def __init__(self, who: Who, descriptors: int = 0, /, **params: Kind) -> None:
        self.who, self.descriptors, self.params = who, descriptors, params


_VIEW = Kind(int, 0, _U32, optional=True)  # None: the caller's own, outside: the first
_PID = Kind(int, 1, (1 << 22))  # PID_MAX_LIMIT, include/linux/threads.h
_SERVICE = Kind(str, 1, 255)
_NAME = Kind(str, 0, 64)
_FLAG = Kind(bool, 0, 1)
_SECONDS = Kind(float, 0, 86400 * 365)
_PATH = Kind(bytes, 1, 4096)
_ARGV = Kind(list[bytes], 1, 1 << 20)
_ENV = Kind(dict[bytes, bytes], 0, 1 << 20)
_ANY, _OWNER = Who.ANYBODY, Who.OWNER

VERBS: Final[dict[str, Verb]] = {
    # verb            who   descriptors  parameters                                   result
    "hello": Verb(_ANY, protocol=Kind(int, 0, _U32)),  # {protocol, serverid, owner, view, views}
    "views": Verb(_ANY),  # [{id, view, parent, name, owner, processes, services, since}]
    "ps": Verb(_ANY, view=_VIEW),  # {pids}
    "list": Verb(_ANY, view=_VIEW),  # [{name, description, options, permanent}], search order
    "add": Verb(_OWNER, view=_VIEW, text=Kind(bytes, 1, 32768), permanent=_FLAG),  # nil, or a line
    "del": Verb(_OWNER, view=_VIEW, service=_SERVICE),  # nil
    "mov": Verb(_OWNER, view=_VIEW, service=_SERVICE, position=Kind(int, 0, 1024)),  # nil; from 0
    "name": Verb(_OWNER, view=_VIEW, name=_NAME),  # nil
    "exec": Verb(
        _OWNER, 3, view=_VIEW, argv=_ARGV, env=_ENV, cwd=_PATH
    ),  # {pid, status}, waitpid's
    "branch": Verb(_OWNER, name=_NAME),  # {view}; begins with the caller, who must be inside
    "mount": Verb(
        _OWNER,
        view=_VIEW,
        type=Kind(str, 0, 255),
        options=Kind(bytes, 0, 4095),
        source=Kind(bytes, 0, 4095),
        target=_PATH,
    ),  # nil; paths of the view, as its owner; flags stand among the options
    "umount": Verb(_OWNER, view=_VIEW, target=_PATH, flags=Kind(int, 0, 15)),  # nil; MNT_*
    "fsalias": Verb(
        _OWNER, view=_VIEW, alias=Kind(str, 1, 255), type=Kind(str, 0, 255)
    ),  # nil; "": no more
    "why": Verb(_OWNER, view=_VIEW, target=_PATH),  # a line: a mount(2) there failed; "": as errno
    "mounts": Verb(
        _ANY, view=_VIEW
    ),  # [{id, type, source, target, options, service, permanent, lost}]; lost: why, or ""
    "stop": Verb(_OWNER, view=_VIEW, seconds=_SECONDS),  # nil, when all have ended
    "attach": Verb(_OWNER, view=_VIEW, pid=_PID),  # nil, or a line
    "trace": Verb(_ANY, view=_VIEW),  # nil, when the view ended; records come as notifications
    "stats": Verb(_ANY, view=_VIEW),  # [{call, count, continue, …}], columns of STATS
    "ask": Verb(
        _OWNER,
        3,
        view=_VIEW,
        service=_SERVICE,
        what=Kind(str, 1, 64),
        arguments=Kind(dict[str, Any], 0, 64),
    ),  # what the service answers; {pid, status} if a program did, with the descriptors
    "secure": Verb(_OWNER, view=_VIEW),  # nil; from now on GUARDED counts, and for its branches
    "probe": Verb(_ANY),  # {pid, memory_kb, connections, requests}
}

_SYS_MODULE, _SYS_ADMIN = (16, "CAP_SYS_MODULE"), (21, "CAP_SYS_ADMIN")

GUARDED: Final[dict[str, tuple[int, str]]] = {
    "add": _SYS_MODULE,
    "del": _SYS_MODULE,
    "mov": _SYS_MODULE,
    "name": _SYS_ADMIN,
    "exec": _SYS_ADMIN,
    "attach": _SYS_ADMIN,
    "ask": _SYS_ADMIN,
    "mount": _SYS_ADMIN,
    "umount": _SYS_ADMIN,
    "fsalias": _SYS_ADMIN,
}
"""What a process inside a secure view may ask with a capability only: its number, capabilities(7),
and its name. "exec" is one of them, for it runs as the view's owner, with all that this means."""

FROM_CLIENT: Final[dict[str, Verb]] = {
    "signal": Verb(
        _ANY, request=Kind(int, 0, _U32), signo=Kind(int, 1, 64)
    ),  # to an exec's process
    "cancel": Verb(_ANY, request=Kind(int, 0, _U32)),  # ends a trace
}
"""Notifications a client may send. What they name is gone: nothing happens."""

FROM_SUPERVISOR: Final[dict[str, Verb]] = {
    "trace": Verb(
        _ANY, request=Kind(int, 0, _U32), records=Kind(list, 0, _U32), lost=Kind(int, 0, _U32)
    ),
    "bye": Verb(_ANY, code=_SERVICE, line=Kind(str, 0, 1024)),  # why the connection ends now
}

STATS: Final = (
    "call", "count", "continue", "return", "errno", "inject", "rewrite", "fault",
    "p50_us", "p99_us", "max_us",
)  # fmt: skip
"""The columns of a row of "stats"; the last three are microseconds from receipt to
answer, nil where none was timed."""
