"""What checks are made of."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

Check = Callable[[Path], None]
CHECKS: list[Check] = []
"""Everything, in order from simple to special."""
READING: list[Check] = []
"""Those that change nothing."""

_ABSENT: Final = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EROFS, errno.ENOTTY)


class NotOffered(Exception):
    """The tree says that it can't: no mistake."""


def name(check: Check) -> str:
    """For ids of tests."""
    return check.__name__


def writing(check: Check) -> Check:
    CHECKS.append(check)
    return check


def reading(check: Check) -> Check:
    READING.append(check)
    return writing(check)


@contextmanager
def optional(*more: int) -> Iterator[None]:
    """Calls that a file system need not have."""
    try:
        yield
    except OSError as error:
        if error.errno in (*_ABSENT, *more):
            raise NotOffered(os.strerror(error.errno)) from error
        raise


@contextmanager
def refused(*codes: int) -> Iterator[None]:
    """What is done here must fail so."""
    try:
        yield
    except OSError as error:
        if error.errno in codes:
            return
        wanted = " or ".join(errno.errorcode[code] for code in codes)
        got = errno.errorcode.get(error.errno or 0, str(error.errno))
        raise AssertionError(f"failed with {got}, where {wanted} is right") from error
    raise AssertionError(f"succeeded, where {errno.errorcode[codes[0]]} is right")
