"""``python -m viewosd.testing.conformance MODULE:CLASS [reading]``: one line a check."""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path

from ..mounted import mounted
from . import CHECKS, READING, run


def main(argv: list[str]) -> int:
    """The exit status: 1 if anything is wrong."""
    module, _, cls = argv[0].partition(":")
    make = getattr(import_module(module), cls)
    reading = argv[1:] == ["reading"]
    wrong = 0
    with mounted(lambda: make(())) as mount:

        def root() -> Path:
            return mount.root if reading else Path(tempfile.mkdtemp(dir=mount.root))

        for check, result in run(root, READING if reading else CHECKS).items():
            wrong += result != "ok" and not result.startswith("not offered")
            print(f"{check.replace('_', ' ')}: {result}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
