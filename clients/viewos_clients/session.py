"""Find the view that a command is about, and talk to its supervisor. Everything here blocks."""

from __future__ import annotations

import array
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from viewosd import wire
from viewosd.keeper import place
from viewosd.wire import Bulk, Message, Notification, PeerError, Request, Response

_AGAIN: Final = {"hello", "views", "ps", "list", "stats", "probe"}
"""Verbs that change nothing: asked once more if the supervisor was replaced while it answered."""
HELLO_S: Final = 10.0
"""Seconds a supervisor may take to say hello: it may be loading its services just now."""


class Refused(Exception):
    """The supervisor said no: a code of `viewosd.wire.CODES`, and one line."""

    def __init__(self, code: str, line: str) -> None:
        super().__init__(line)
        self.code = code


class NoView(Exception):
    """No view, or not one alone, is meant; one line. ``views``: rows of "views" to choose from."""

    def __init__(self, line: str, views: list[dict[str, Any]] | None = None) -> None:
        super().__init__(line)
        self.views = views or []


class Session:
    """A connection to one supervisor.

    Attributes:
        serverid: which one.
        owner: its views' uid.
        view: the id of the view that we are in, or None.
        views: [id, name] of all.
    """

    def __init__(self, serverid: int) -> None:
        """Connect and say hello.

        Raises:
            OSError: nobody there, or nobody answers.
            Refused: it does not want us.
        """
        self.serverid = serverid
        self._sock = place.connect(serverid)
        self._next = 0
        try:
            self._sock.settimeout(HELLO_S)
            told = self.call("hello", wire.PROTOCOL)
            self._sock.settimeout(None)
        except BaseException:
            self._sock.close()
            raise
        self.owner: int = told["owner"]
        self.view: int | None = told["view"]
        self.views: list[tuple[int, str]] = [(id, name) for id, name in told["views"]]

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def fileno(self) -> int:
        """The connection's: it is readable when `messages` has one, or an end."""
        return self._sock.fileno()

    def call(self, verb: str, *params: Any, fds: tuple[int, ...] = ()) -> Any:
        """Ask, and wait for the result.

        Raises:
            Refused: with the supervisor's reason.
            ConnectionError: it ended meanwhile.
        """
        try:
            return self._call(verb, params, fds)
        except ConnectionError:
            if verb not in _AGAIN:
                raise
        try:
            again = place.connect(self.serverid)
        except FileNotFoundError:
            raise ConnectionResetError("the view has ended") from None
        again.settimeout(self._sock.gettimeout())
        self._sock.close()
        self._sock = again
        return self._call(verb, params, fds)

    def _call(self, verb: str, params: tuple[Any, ...], fds: tuple[int, ...]) -> Any:
        id = self.start(verb, *params, fds=fds)
        for message in self.messages():
            if isinstance(message, Response) and message.id == id:
                return result_of(message)
        raise ConnectionResetError("the view's supervisor has ended")

    def start(self, verb: str, *params: Any, fds: tuple[int, ...] = ()) -> int:
        """Ask without waiting; the request's id."""
        self._next += 1
        self._send(Request(self._next, verb, list(params)), fds)
        return self._next

    def notify(self, verb: str, *params: Any) -> None:
        """Tell without an answer."""
        self._send(Notification(verb, list(params)), ())

    def messages(self) -> Iterator[Message]:
        """What the supervisor sends, until it hangs up.

        Raises:
            Refused: it hung up and said why.
        """
        while (message := self._receive()) is not None:
            if isinstance(message, Notification) and message.verb == "bye":
                raise _refused(*message.params)
            yield message

    def _send(self, message: Message, fds: tuple[int, ...]) -> None:
        data, bulk = wire.encode(message)
        if bulk is None:
            self._send_datagram(data, fds)
            return
        memfd = os.memfd_create("viewos-client", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(memfd, "wb", closefd=False) as file:
                file.write(bulk)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW
            fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, seals)
            self._send_datagram(data, (*fds, memfd))
        finally:
            os.close(memfd)

    def _send_datagram(self, data: bytes, fds: tuple[int, ...]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        # Has it hung up? Why, is what the next message says.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._sock.sendmsg([data], rights)

    def _receive(self) -> Message | None:
        space, flags = socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
        try:
            data, ancillary, _, _ = self._sock.recvmsg(wire.MAX_MESSAGE, space, flags)
        except ConnectionResetError:
            # A socket that was closed over unread messages says that first, and once; the last
            # words are still in our queue: net/unix/af_unix.c, unix_release_sock().
            data, ancillary, _, _ = self._sock.recvmsg(wire.MAX_MESSAGE, space, flags)
        fds = array.array("i")
        for _, _, raw in ancillary:
            fds.frombytes(raw)
        try:
            if not data:
                return None
            message = wire.decode(data)
            if isinstance(message[-1], Bulk):
                if not fds:
                    raise PeerError("a long answer came without its memfd")
                # Not read(): the offset is shared with the supervisor, who has just written.
                message = wire.fill(message, os.pread(fds[0], message[-1].length, 0))
            return message
        finally:
            for fd in fds:
                os.close(fd)


def result_of(response: Response) -> Any:
    """The result.

    Raises:
        Refused: there is an error instead.
    """
    if response.error is not None:
        raise _refused(*response.error)
    return response.result


def _refused(code: object = "", line: object = "", *_: object) -> Refused:
    """Our own exception; a code that we do not know yet counts as the plain "refused"."""
    return Refused(code if isinstance(code, str) and code in wire.CODES else "refused", str(line))


def ancestors() -> Iterator[int]:
    """Our own pid and those of our ancestors, as far as /proc shows them."""
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            with open(f"/proc/{pid}/status", "rb") as status:
                pid = next(int(line[5:]) for line in status if line.startswith(b"PPid:"))
        except (OSError, StopIteration):
            return


def inside() -> Session | None:
    """The supervisor of the view that we are in.

    It is an ancestor, as a rule. Not so for an attached process, after the supervisor was replaced,
    or where pids are hidden or others: then every live supervisor is asked.
    """
    found, others = _survey()
    for session in others:
        session.close()
    return found


def _survey() -> tuple[Session | None, list[Session]]:
    """The supervisor we are inside of; if none, all others that answer."""
    tried = set()
    for pid in ancestors():
        if os.path.lexists(place.socket_path(pid)):
            tried.add(pid)
            session = _open(pid)
            if session is not None:
                if session.view is not None:
                    return session, []
                session.close()
    others: list[Session] = []
    for serverid in place.sockets():
        session = _open(serverid)
        if session is None:
            continue
        if session.view is not None:
            for other in others:
                other.close()
            return session, []
        others.append(session)
    return None, others


def _open(serverid: int) -> Session | None:
    try:
        return Session(serverid)
    except (OSError, Refused, PeerError):
        return None


def everywhere() -> list[Session]:
    """Every supervisor of ours that answers."""
    return [session for serverid in place.sockets() if (session := _open(serverid)) is not None]


def locate(view: str | None) -> tuple[Session, int | None]:
    """The supervisor and the view that a command means; the view None: the one that we are in.

    Args:
        view: SERVERID, SERVERID:ID, or a name; None: ours, outside the only one there is.

    Raises:
        NoView: there is none such, or several; then with the rows to choose from.
    """
    if view is None:
        return _locate_ours()
    serverid, colon, id = view.partition(":")
    if serverid.isdecimal() and (id.isdecimal() or not colon):
        session = _open(int(serverid))
        if session is None:
            raise NoView(f"there is no view {view}; 'viewos ls' lists them")
        return session, int(id or 0)
    sessions = everywhere()
    return _only([(s, i) for s in sessions for i, n in s.views if n == view], sessions, view)


def _locate_ours() -> tuple[Session, int | None]:
    found, others = _survey()
    if found is not None:
        return found, None
    return _only([(s, i) for s in others for i, _ in s.views], others, None)


def _only(
    candidates: list[tuple[Session, int]], sessions: list[Session], name: str | None
) -> tuple[Session, int]:
    """The one candidate, with the other sessions closed."""
    if len(candidates) == 1:
        for session in sessions:
            if session is not candidates[0][0]:
                session.close()
        return candidates[0]
    ids = {f"{session.serverid}:{id}" for session, id in candidates}
    rows = [row for session in sessions for row in session.call("views") if row["id"] in ids]
    for session in sessions:
        session.close()
    if rows:
        what = "here" if name is None else f"named {name}"
        raise NoView(f"there are {len(rows)} views {what}; say which one:", rows)
    raise NoView(
        "there is no view"
        if name is None
        else f"there is no view named {name}; 'viewos ls' lists them"
    )
