"""The stacks of a view: what each mount below ``/dev/net`` stands for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Final

from .protocols import FAMILIES

DEFAULT: Final = b"/dev/net/default"
"""What is mounted here is the stack of everybody in the view."""


@dataclass
class Stack:
    """One that is mounted.

    Attributes:
        path: where.
        kind: its mount type.
        namespace: a descriptor of the network namespace; -1: to be opened where it is mounted.
        inode: of the namespace, to know it by.
        families: those that it answers; others are what they were without it.
        override: others are refused instead.
        home: everybody in the view lives in it, so nothing goes through us.
        facts: what it was configured with.
    """

    path: bytes
    kind: str
    namespace: int = -1
    inode: int = 0
    families: frozenset[int] = field(default_factory=lambda: frozenset(FAMILIES))
    override: bool = False
    home: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    def refuses(self, family: int) -> bool:
        """Does it have no sockets of a family? EAFNOSUPPORT."""
        null = "umnetnull" in (self.kind, self.facts.get("of"))
        return null or family not in self.families

    def close(self) -> None:
        """Let its namespace go; sockets that were made in it go on."""
        if self.namespace >= 0:
            os.close(self.namespace)
            self.namespace = -1

    def told(self) -> dict[str, Any]:
        """For a listing."""
        path, ports = os.fsdecode(self.path), self.facts.get("published", [])
        told = {"path": path, "type": self.kind, "lived_in": self.home}
        return told | {"nat": "nat" in self.facts, "published": ports}

    def describe(self) -> dict[str, Any]:
        """For `restored`."""
        return {
            "path": self.path,
            "kind": self.kind,
            "inode": self.inode,
            "families": sorted(self.families),
            "override": self.override,
            "home": self.home,
            "facts": self.facts,
        }


def restored(state: dict[str, Any]) -> Stack:
    """The stack again, in a successor or a branch: its namespace is found where it is mounted."""
    return Stack(**{**state, "families": frozenset(state["families"])})
