"""The name that tests know `viewosd.memorytree` by."""

from ..memorytree import MemoryTree

__all__ = ["MemoryTree"]
