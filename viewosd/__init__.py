"""Give each process its own view of the system: the public API, and nothing else.

The names are loaded when they are first used: clients import parts of this package and must start
in milliseconds, and what they need is not here.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds, and clients pass through here
if TYPE_CHECKING:
    from typing import Any

    from .errors import BadAddress as BadAddress
    from .errors import ServiceError as ServiceError
    from .errors import Vanished as Vanished
    from .service import Bits as Bits
    from .service import Service as Service
    from .service import Under as Under
    from .service import hook as hook
    from .tracee import Credentials as Credentials
    from .tracee import Tracee as Tracee
    from .verdict import CONTINUE as CONTINUE
    from .verdict import Continue as Continue
    from .verdict import Errno as Errno
    from .verdict import InjectFd as InjectFd
    from .verdict import Return as Return
    from .verdict import Rewrite as Rewrite
    from .verdict import Verdict as Verdict

_HOME = {
    "errors": ("BadAddress", "ServiceError", "Vanished"),
    "service": ("Bits", "Service", "Under", "hook"),
    "tracee": ("Credentials", "Tracee"),
    "verdict": ("CONTINUE", "Continue", "Errno", "InjectFd", "Return", "Rewrite", "Verdict"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE_OF)  # noqa: PLE0605  (computed from the one table above)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    return value
