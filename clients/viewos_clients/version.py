"""Which version is installed; apart because asking costs more than a command does."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The distribution's version, or "unknown" where it runs from a source tree."""
    try:
        return metadata.version("viewosd")
    except metadata.PackageNotFoundError:
        return "unknown"
