"""A file system that a service writes, served to the programs of a view through FUSE."""

from __future__ import annotations


class FileTree:
    """Base of a served file system."""
