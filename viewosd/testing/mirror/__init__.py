"""The mirror: serve the real system again, on our side of the fence.

Every call that it answers is answered as the kernel would have: the same result, the same errno,
the same change. So a program in a view with the mirror must behave as one outside, and where it
does not, the supervisor, `Tracee` or the mirror is wrong. Arguments are copied once, paths are
resolved by `Tracee.open`, and the work is done with the tracee's rights (`identity`).

What can't be served faithfully is left to the kernel; each part says what that is. Never served:
execve, mmap, chdir and all else that changes the caller itself.

One limit: no file server (FUSE) may run in the view, for a look at its files waits for it, and it
for the supervisor, until the keeper ends that wait by a successor.
"""

from __future__ import annotations

from .asking import Asking
from .changing import Changing
from .entries import Entries
from .opening import Opening
from .others import Others

__all__ = ["Reflection"]


class Reflection(Opening, Asking, Changing, Entries, Others):
    """All parts together, as hooks of a service."""
