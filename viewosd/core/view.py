"""A view: its name, its services in search order, and the table made of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ..abi.arch import SUPPORTED
from ..errors import ServiceError
from ..service import HookSpec, Service
from .routing import Routes, build_routes
from .stats import Stats


class Loaded:
    """A service in a view. ``text`` is how it was asked for: ``misc,nodename=box``."""

    def __init__(self, service: Service, text: str, permanent: bool = False) -> None:
        self.service, self.text, self.permanent = service, text, permanent

    @property
    def name(self) -> str:
        return self.service.name


class View:
    """What a tree of processes sees.

    Attributes:
        id: 0 for the view that the supervisor was started with, then counted up.
        name: what its owner calls it; "" if nothing.
        owner: the user whose view it is.
        parent: the view that this one is a branch of.
        since: when it was made, seconds since the epoch.
        root: the process that this branch began with; 0 for the supervisor's own view.
        secure: processes inside may change it only with the capabilities for that.
        keeper: the root's parent, which gets the branch's processes if the root is killed; or 0.
    """

    def __init__(
        self,
        id: int,
        name: str,
        since: float,
        *,
        owner: int = 0,
        parent: View | None = None,
        root: int = 0,
    ) -> None:
        self.id, self.name, self.since, self.owner = id, name, since, owner
        self.parent, self.root, self.keeper = parent, root, 0
        self.secure: bool = parent is not None and parent.secure
        self.services: list[Loaded] = list(parent.services) if parent else []
        self.inner: list[Service] = []
        """The runtime's own: asked after all others, and in no listing."""
        self.stats = Stats()
        self.routes: Routes = build_routes((), SUPPORTED, self.stats)
        self.rebuild()

    @property
    def depth(self) -> int:
        """0 for a view that is no branch, then one more for each branch above."""
        return self.parent.depth + 1 if self.parent else 0

    def specs(self) -> Iterable[HookSpec]:
        """Every hook of every service: what the filter must trap."""
        return [spec for service in self._all() for spec, _ in service.hooks()]

    def _all(self) -> list[Service]:
        return [*(loaded.service for loaded in self.services), *self.inner]

    def insert(self, loaded: Loaded, position: int | None = None) -> None:
        """Put a service into the search order, at the end by default.

        Raises:
            ServiceError: one of that name is there.
        """
        if any(other.name == loaded.name for other in self.services):
            raise ServiceError(f"service {loaded.name} is already loaded")
        self.services.insert(len(self.services) if position is None else position, loaded)
        self.rebuild()

    def remove(self, name: str) -> Loaded:
        """Take a service out.

        Raises:
            ServiceError: it is not loaded, or permanent.
        """
        loaded = self.find(name)
        if loaded.permanent:
            raise ServiceError(f"service {name} is permanent")
        self.services.remove(loaded)
        self.rebuild()
        return loaded

    def move(self, name: str, position: int) -> None:
        """Give a service another place in the search order; 0 is asked first.

        Raises:
            ServiceError: it is not loaded, or there is no such place.
        """
        loaded = self.find(name)
        if not 0 <= position < len(self.services):
            raise ServiceError(f"there is no position {position} (0 to {len(self.services) - 1})")
        self.services.remove(loaded)
        self.services.insert(position, loaded)
        self.rebuild()

    def find(self, name: str) -> Loaded:
        """A loaded service by name. Raises ServiceError."""
        for loaded in self.services:
            if loaded.name == name:
                return loaded
        raise ServiceError(f"service {name} is not loaded")

    def rebuild(self) -> None:
        """Make the routing table again, after the list of services changed."""
        self.routes = build_routes(self._all(), SUPPORTED, self.stats)
