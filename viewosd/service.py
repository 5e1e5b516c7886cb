"""What a service is: a name, options, and hooks. Everything that a plugin author needs.

A hook is a method marked with `hook`. A plain ``def`` hook answers at once and must not block; an
``async def`` hook may wait (on trio). It returns a verdict, or None: "not mine, ask the next".
"""

from __future__ import annotations

import errno
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, cast, get_type_hints

from .errors import ServiceError
from .network import Networks
from .space import Mounted, MountRequest, Space
from .syscalls.base import Syscall
from .tracee import Tracee
from .verdict import Verdict

C = TypeVar("C", bound=Syscall)
Answer = Verdict | None
R = TypeVar("R", bound=Answer | Awaitable[Answer])

DEADLINE_S = 30.0
"""Seconds that an ``async def`` hook may take unless it says otherwise."""


@dataclass(frozen=True)
class Under:
    """A path condition: the path, as the program wrote it, lies at or below ``prefix``.

    Compared name by name after ``.``, ``//`` and ``..`` are taken out; symbolic links are not
    followed, so it suits trees that exist in the view alone. A relative path is taken from the
    tracee's working directory or ``dirfd``.
    """

    prefix: bytes

    def __post_init__(self) -> None:
        if not self.prefix.startswith(b"/"):
            raise TypeError(f"Under({self.prefix!r}): the prefix must be absolute")


@dataclass(frozen=True)
class Bits:
    """A register condition: any bit of ``mask`` is set. ``flags=Bits(O_CREAT)``."""

    mask: int

    def __post_init__(self) -> None:
        if self.mask <= 0:
            raise TypeError(f"Bits({self.mask:#x}): no bit to look for")


Condition = int | Iterable[int] | Bits | Under


@dataclass(frozen=True)
class HookSpec:
    """What `hook` was told: which calls, when, and how the supervisor treats them."""

    call: type[Syscall]
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    deadline_s: float | None = DEADLINE_S
    idempotent: bool = True
    interruptible: bool = False
    otherwise: int = errno.EIO


def hook(
    call: type[C],
    *,
    deadline_s: float | None = DEADLINE_S,
    idempotent: bool = True,
    interruptible: bool = False,
    otherwise: int = errno.EIO,
    **conditions: Condition,
) -> Callable[[Callable[[Any, C, Tracee], R]], Callable[..., R]]:
    """Mark a method as the answer to ``call``, a system call or a family.

    Args:
        call: the class; the hook gets an instance of it.
        deadline_s: seconds after which an ``async def`` hook is cancelled and the tracee gets
            EIO. None: never.
        idempotent: may the call be asked again if the supervisor died while it was answered? If
            not, the tracee then gets ``otherwise``.
        interruptible: the hook may wait long for something that is not its own (a lock, a
            client); a signal that the tracee would handle ends it, as it ends a ``read``.
        otherwise: the errno after a crash, for a call that may not be asked again.
        conditions: ``register=value``, ``register=(value, …)`` or ``register=Bits(mask)``: trap
            nothing else (these go into the filter); ``path=Under(b"/x")`` is looked at by the
            supervisor.

    A method may carry several marks. A type checker holds the innermost one against the method:
    the wrong call, or something returned that is no verdict, is an error before anything runs.

    Raises:
        TypeError: ``call`` has no such register.
    """
    known = set(call.registers) or {n for c in call.__mro__ for n in inspect.get_annotations(c)}
    if unknown := conditions.keys() - known:
        raise TypeError(f"{call.__name__} has no register {', '.join(sorted(unknown))}")
    kept = {n: c if isinstance(c, int | Bits | Under) else tuple(c) for n, c in conditions.items()}
    spec = HookSpec(call, kept, deadline_s, idempotent, interruptible, otherwise)

    def mark(method: Callable[[Any, C, Tracee], R]) -> Callable[..., R]:
        cast(Any, method).__viewosd_hooks__ = (*getattr(method, "__viewosd_hooks__", ()), spec)
        return method

    return mark


@dataclass(frozen=True)
class Work:
    """A program that answers `Service.ask`: outside of the view, with the owner's rights.

    It gets the standard streams of whoever asked, so its answer may be as long as it likes, and its
    exit status is the asker's. It is ended with SIGTERM when whoever asked is gone.

    Attributes:
        descriptors: become its numbers 3, 4 and so on; ours are closed then.
    """

    argv: tuple[str, ...]
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Handed:
    """An answer to `Service.ask` that is descriptors: whoever asked gets them by SCM_RIGHTS through
    what it has sent as its standard output, which must be a socket. They are closed then.
    """

    descriptors: tuple[int, ...]


async def _nothing_to_rearm() -> None:
    """A service that is not loaded has nobody to trap calls of."""


class Service:
    """Base of every service. Subclasses say their ``name`` and mark their hooks.

    The parameters of ``__init__`` are the service's options, as users write them after its name:
    ``-p misc,nodename=box``. They arrive converted to their annotation (str, bytes, int, float,
    bool, or a list of these for an option that may be repeated).
    """

    name: ClassVar[str]
    description: ClassVar[str] = ""
    """One line for ``um_ls_service``; by default the first line of the class's docstring."""

    mounts: ClassVar[tuple[str, ...]] = ()
    """The mount types that it offers, as in ``mount -t TYPE``: it is a file service then."""

    remember: Callable[[], None] = staticmethod(lambda: None)
    """Call it after changing what `describe` tells: the supervisor then writes it down."""

    async def start(self) -> None:
        """Called once, before the first call is routed here. An exception refuses the service."""

    async def stop(self) -> None:
        """Called once, after the last call has been answered. Never called after a crash."""

    def describe(self) -> Any:
        """What `restore` needs to make this object again: numbers, str, bytes, lists, dicts.

        Asked after `start`, when a client changed something, and at `remember`. Keep it small.
        """
        return None

    def restore(self, state: Any) -> None:
        """Take back what `describe` gave, in a dead supervisor's successor. Before `start`."""

    async def mount(self, request: MountRequest) -> int | None:
        """Make what a mount of one of `mounts` shows.

        Returns:
            A descriptor of a tree that is attached nowhere, for the runtime to attach at
            ``request.target`` and to close; None: everything has been done here.

        Raises:
            OSError: what mount(2) fails with; a text goes to whoever can read it.
        """
        raise OSError(errno.ENODEV, f"service {self.name} mounts nothing")

    async def umounted(self, mounted: Mounted) -> None:
        """A mount of ours is gone: by umount(2), or with the view."""

    async def ask(self, what: str, arguments: Mapping[str, Any], pid: int) -> Any:
        """Answer a command that is this service's own, as `viewos diff` is viewfs's.

        Args:
            arguments: as the command sent them: check them.
            pid: the process that asked; 0 if that can't be known.

        Returns:
            Numbers, str, bytes, lists and dicts, for the command to show; a `Work`; or `Handed`.

        Raises:
            ServiceError: it can't be done, in one line.
        """
        raise ServiceError(f"service {self.name} has no command {what}")

    view_space: Callable[[], Space | None] = staticmethod(lambda: None)
    """The mounts of the view that it is loaded in; None while that has none of its own."""

    view_networks: Callable[[], Networks | None] = staticmethod(lambda: None)
    """Who makes its network stacks; None while it has no mounts of its own."""

    view_places: Callable[[], Iterable[str]] = staticmethod(tuple)
    """Directories with the sockets of the user's views: what overlays them lets them through."""

    rearm: Callable[[], Awaitable[None]] = staticmethod(_nothing_to_rearm)
    """Await it after `hooks` began to tell of more: they are trapped and routed from then on.

    Inside a hook the call that it answers is asked again afterwards: see docs/write-a-service.md.
    """

    @classmethod
    def summary(cls) -> str:
        """The line that listings show."""
        doc = cls.description or (cls.__doc__ or "").strip().partition("\n")[0]
        return doc.rstrip(".")

    def hooks(self) -> list[tuple[HookSpec, Callable[[Any, Tracee], Any]]]:
        """Every mark with its bound method, in the order of the class body."""
        found = []
        for cls in type(self).__mro__:
            for attr, method in vars(cls).items():
                if getattr(type(self), attr, None) is method:
                    for spec in getattr(method, "__viewosd_hooks__", ()):
                        found.append((spec, getattr(self, attr)))
        return found


def parse_options(text: str) -> tuple[str, list[tuple[str, str]]]:
    r"""Split ``SERVICE,option,name=value``; ``\,`` is a comma inside a value.

    Returns:
        The service's name, and (option, value) pairs in order; a bare option has the value "".
    """
    parts, part, escaped = [], "", False
    for char in text:
        if escaped:
            part, escaped = part + char, False
        elif char == "\\":
            escaped = True
        elif char == ",":
            parts.append(part)
            part = ""
        else:
            part += char
    parts.append(part + ("\\" if escaped else ""))
    pairs = [(n, v) for n, _, v in (p.partition("=") for p in parts[1:] if p)]
    return parts[0], pairs


def make_service(cls: type[Service], pairs: Iterable[tuple[str, str]]) -> Service:
    """Make a service from options as users write them.

    Raises:
        ServiceError: it has no such option, or the value does not fit, in one line.
    """
    hints = get_type_hints(cls.__init__)
    parameters = {n: p for n, p in inspect.signature(cls).parameters.items()}
    kwargs: dict[str, Any] = {}
    for option, text in pairs:
        if option not in parameters:
            offered = ", ".join(parameters) or "none"
            raise ServiceError(f"{cls.name} has no option {option} (it has: {offered})")
        hint = _given(hints.get(option, str))
        many = getattr(hint, "__origin__", None) is list
        value = _convert(cls.name, option, text, hint.__args__[0] if many else hint)
        if many:
            kwargs.setdefault(option, []).append(value)
        elif option in kwargs:
            raise ServiceError(f"{cls.name}: option {option} is given twice")
        else:
            kwargs[option] = value
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in kwargs]
    if missing:
        raise ServiceError(f"{cls.name} needs option {', '.join(missing)}")
    try:
        return cls(**kwargs)
    except (ValueError, OSError) as error:
        raise ServiceError(f"{cls.name}: {error}") from error


_TRUTH = {"": True, "yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _given(hint: Any) -> Any:
    """The annotation of an option that is given: ``str | None`` means str then."""
    if getattr(hint, "__origin__", None) is list:
        return hint
    kinds = getattr(hint, "__args__", None) or (hint,)
    return next(k for k in kinds if k is not type(None))


def _convert(service: str, option: str, text: str, hint: Any) -> Any:
    """One option's text as its annotation wants it."""
    kind = _given(hint)
    try:
        if kind is bool:
            return _TRUTH[text.lower()]
        if kind is int:
            return int(text, 0)
        if kind is bytes:
            return text.encode(errors="surrogateescape")
        return kind(text)
    except (ValueError, KeyError) as error:
        raise ServiceError(f"{service}: option {option}: {text!r} is no {kind.__name__}") from error
