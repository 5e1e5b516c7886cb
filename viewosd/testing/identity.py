"""Do what a tracee asked for with the tracee's rights, in the supervisor's one thread.

A supervisor of an ordinary user has the rights of all its tracees already. Root's has more than a
tracee that gave some up, so for one call it takes the tracee's file-system ids, groups, effective
capabilities and umask. CAP_SYS_PTRACE is kept: without it the tracee could not be looked at.

This is for the test kit: it is right only while nothing else runs in the thread, so there must be
no ``await`` inside, and the supervisor must have no second thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from ..abi.capability import CAP_SYS_PTRACE
from ..tracee import Credentials, Tracee
from . import unsafe

_ALWAYS: Final = 1 << CAP_SYS_PTRACE


class Unfit(Exception):
    """This tracee's rights can't be taken; the kernel must run the call."""


class Identity:
    """The supervisor's own rights, and what it takes to act with another's."""

    def __init__(self) -> None:
        self._effective, self._permitted, self._inheritable = unsafe.capabilities()
        self._uid, self._gid = os.geteuid(), os.getegid()
        self._groups = tuple(os.getgroups())
        self._user_namespace = os.readlink("/proc/self/ns/user")

    @contextmanager
    def of(self, tracee: Tracee, *, real: bool = False, creating: bool = False) -> Iterator[None]:
        """Have the tracee's rights inside the ``with``.

        Args:
            real: by its real ids, as access(2) asks.
            creating: with its umask too.

        Raises:
            Unfit: it has rights that we do not have, or in another user namespace.
        """
        who = tracee.credentials
        if os.readlink(f"/proc/{tracee.tid}/ns/user") != self._user_namespace:
            raise Unfit
        if real:
            who = self._really(who)
        same = self._is_ours(who)
        if not same and not self._can_become(who):
            raise Unfit
        umask = os.umask(tracee.umask) if creating else -1
        try:
            if same:
                yield
            else:
                self._become(who)
                yield
        finally:
            if not same:
                self._return()
            if creating:
                os.umask(umask)

    def _is_ours(self, who: Credentials) -> bool:
        return (
            (who.fsuid, who.fsgid) == (self._uid, self._gid)
            and who.groups == self._groups
            and who.cap_eff == self._effective
        )

    def _can_become(self, who: Credentials) -> bool:
        return self._uid == 0 and not who.cap_eff & ~self._permitted

    def _really(self, who: Credentials) -> Credentials:
        """As fs/open.c:access_override_creds(): by the real ids, root alone keeps capabilities."""
        if who.uid:
            return replace(who, fsuid=who.uid, fsgid=who.gid, cap_eff=0)
        if who.cap_eff != self._permitted:
            raise Unfit  # which are permitted to it, nobody tells
        return replace(who, fsuid=0, fsgid=who.gid)

    def _become(self, who: Credentials) -> None:
        unsafe.setgroups(who.groups)
        unsafe.setfsgid(who.fsgid)
        unsafe.setfsuid(who.fsuid)  # takes and gives capabilities of its own accord, so before
        unsafe.set_capabilities(
            who.cap_eff | _ALWAYS & self._permitted, self._permitted, self._inheritable
        )

    def _return(self) -> None:
        unsafe.set_capabilities(self._effective, self._permitted, self._inheritable)
        unsafe.setfsuid(self._uid)
        unsafe.setfsgid(self._gid)
        unsafe.setgroups(self._groups)
        unsafe.set_capabilities(self._effective, self._permitted, self._inheritable)
