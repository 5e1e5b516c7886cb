"""The network stacks of a view, as a service may make and use them.

A stack is a network namespace (network_namespaces(7)), held by a descriptor of it: a file of nsfs,
as ``/proc/pid/ns/net`` is. A socket belongs to the namespace that it was made in, whoever uses it;
so a program that a service hands one to talks on that stack, and no later call on it is trapped.

An ordinary user's stacks are its own: the user namespace that one belongs to is a child of the
view's, whose programs run as its owner and so may configure it as root may the host's: the owner
has all capabilities in it, seen from the parent (user_namespaces(7)).

Descriptors that a method returns are the caller's to close; those that it takes stay the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .tracee import Credentials


class Networks(Protocol):
    """Network namespaces of a view's owner. A helper in the view makes them and what is in them.

    Raises (any method):
        OSError: the kernel's errno.
    """

    async def create(self) -> int:
        """A new network namespace: nothing but its loopback interface, which is up."""

    async def native(self) -> int:
        """The namespace that the view's programs were started in, if none was made for them."""

    async def again(self, namespace: int) -> int:
        """Another descriptor of a namespace, by which no mount is busy."""

    async def socket(
        self,
        namespace: int,
        family: int,
        type: int,
        protocol: int,
        *,
        like: Credentials | None = None,
    ) -> int:
        """socket(2), in a namespace.

        Args:
            like: whose ids and capabilities count, and who owns it; None: the view's owner.

        Returns:
            It is close-on-exec, and non-blocking if ``type`` says so.
        """

    async def live_in(self, namespace: int) -> bool:
        """Have every program that is started in the view from now on live in a namespace: what it
        makes and reads (``/proc/net``, ``/sys/class/net``) is there without our help.

        Returns:
            Whether that is everybody: nobody runs in the view yet.
        """

    def accompany(self, argv: Sequence[str], fds: Sequence[int], *, what: str) -> int:
        """Run a program outside of the view, with the owner's rights, as long as that needs it.

        Args:
            argv: of the program, which is to stay in the foreground; looked for in PATH.
            fds: become its descriptors 3, 4 and so on; they stay the caller's.
            what: what lines of the log begin with; what the program says goes there.

        Returns:
            Its number, which stays the same in a successor: the program survives the supervisor.
        """

    def drop(self, number: int) -> None:
        """End a companion."""

    async def ended(self, number: int) -> OSError:
        """Wait until a companion has ended by itself.

        Returns:
            Why, and what it said last: ENOPKG, there is no such program; EIO.
        """

    def lives_in(self, tid: int) -> int:
        """The inode of the network namespace that a thread is in."""
