"""Copy-on-write layers: what they changed, carried out for real or forgotten.

A layer is a directory in the format of the kernel's overlayfs (`entry`, `store`); what it lies over
is a directory of the host. `walk` finds the changes, `patch` shows them, `commit` carries them out.
The command is ``python -m viewos_viewfs.layers``; docs/layers.md tells what users may rely on.
"""

from __future__ import annotations

from .changes import Change as Change
from .changes import Kind as Kind
from .commit import Committed as Committed
from .commit import Refused as Refused
from .commit import commit as commit
from .discard import discard as discard
from .store import Layer as Layer
from .store import LayerError as LayerError
from .walk import Walk as Walk
