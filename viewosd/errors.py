"""Errors, by whose they are.

| class | whose | who turns it into what |
| --- | --- | --- |
| OSError raised by a hook | the tracee's | the supervisor: the same errno |
| BadAddress | the tracee's pointer | it is an OSError: EFAULT |
| Vanished | nobody's: the tracee died, or its call was restarted | the call is dropped |
| MustWait | nobody's: a path may wait for a program | the hook is asked again later |
| ServiceError | the service, or how it was asked for | one line to whoever asked |
| ViewError | what a client asked for can't be done | one line and an exit status |
| any other exception in a hook | a bug of the service | a log line; the tracee gets EIO |
"""

from __future__ import annotations

import errno

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds, and clients pass through here
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any


class BadAddress(OSError):
    """The tracee's memory can't be read or written there; the tracee gets EFAULT."""

    def __init__(self, address: int, length: int = 0) -> None:
        super().__init__(errno.EFAULT, f"bad address {address:#x} (+{length})")
        self.address = address
        self.length = length


class Vanished(Exception):
    """The cookie is dead: the tracee was killed, or its call was broken off and is asked anew.

    What was read for it must not be used. A hook need not catch this.
    """


class MustWait(Exception):
    """A hook has asked for what may wait for a program of the view. That is done aside, and then
    the hook is asked again, from its beginning. A hook need not catch this.
    """

    def __init__(self, key: Hashable, function: Callable[[], Any]) -> None:
        super().__init__(key)
        self.key, self.function = key, function


class ServiceError(Exception):
    """A service is unknown, can't be loaded, or was given an option it does not have."""


class ViewError(Exception):
    """A request that can't be carried out; the text is one line that says what to do."""
