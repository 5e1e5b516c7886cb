"""What can go wrong between a client and a supervisor, and how a client ends then."""

from __future__ import annotations

from typing import Final


class PeerError(Exception):
    """The other side broke the protocol. The connection ends; nothing else does."""


class UsageError(Exception):
    """We were about to break the protocol ourselves: a bug on this side."""


CODES: Final[dict[str, int]] = {
    # code             exit status   when
    "bad-request": 1,  #             the protocol was broken; the connection has ended
    "no-such-verb": 1,  #            a client newer than the supervisor
    "busy": 75,  #                   too many connections or requests (EX_TEMPFAIL, sysexits.h)
    "no-such-view": 1,  #            it has ended, or never was
    "no-such-service": 1,  #         the view has not loaded it
    "refused": 1,  #                 it can't be done, or not by this caller; the line says why
    "not-found": 127,  #             exec: no such program
    "not-executable": 126,  #        exec: the program can't be run
    "internal": 1,  #                a bug of the supervisor; its log has the traceback
}
"""Every code a response may carry, and the exit status of a command that got it."""
