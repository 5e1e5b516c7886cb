"""What every part of the mirror has: the supervisor's own rights, to come back to."""

from __future__ import annotations

from functools import cached_property

from ..identity import Identity


class Served:
    """Base of the parts."""

    @cached_property
    def identity(self) -> Identity:
        """Made when first used: in the supervisor's own process."""
        return Identity()
