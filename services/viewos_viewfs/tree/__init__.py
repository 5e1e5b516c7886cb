"""A tree of several layers, of which one takes the changes: what kernel overlayfs can't do.

`Overlay` is a `viewosd.filetree.FileTree`. How it is made, from the outside in: `overlay` (the
calls of the kernel), `names`, `moving`, `attributes`, `files` (what they do), `changes` (in which
layer), `copyup`, `union` (the layers as one tree), `layer` and `virtual` (their format).
"""

from __future__ import annotations

from .overlay import Overlay
from .rights import kernel_checks

__all__ = ["Overlay", "kernel_checks"]
