"""Taking away what a test has made."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

_OURS = 0o700


def remove(directory: Path | str) -> None:
    """Remove a directory with what is in it, the closed directories of tests too; it need not be
    there. A view that is just ending may take its own names away meanwhile.
    """

    def missing(_function: object, _path: str, error: tuple[type, Exception, object]) -> None:
        if not isinstance(error[1], FileNotFoundError):
            raise error[1]

    for place, inside, _ in os.walk(directory):
        for name in inside:
            # Before the walk gets there. Root needs none of this.
            with contextlib.suppress(FileNotFoundError, PermissionError):
                path = os.path.join(place, name)
                if not os.path.islink(path) and os.lstat(path).st_mode & _OURS != _OURS:
                    os.chmod(path, _OURS)
    shutil.rmtree(directory, onerror=missing)
