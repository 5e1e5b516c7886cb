"""Where views are found: one directory per user, the same for every client of that user.

It depends on the user alone and not on the environment, or a client inside a view that has another
environment would not find its own supervisor. VIEWOS_RUNTIME_DIR overrides it: for tests, and for
hosts where none of these places can be written.

| user | directory |
| --- | --- |
| root | /run/viewos/0. Not /run/user/0: that vanishes when root's last login ends |
| others | /run/user/UID/viewos where systemd-logind has made /run/user/UID, else /tmp/viewos-UID |

A view is SERVERID.sock there, a listening SOCK_SEQPACKET socket. A name that nothing listens behind
is the rest of a supervisor that was killed, and is removed by whoever notices.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat

_ROOT = "/run/viewos/0"


class PlaceError(Exception):
    """The directory can't be used; one line that says why and what to do."""


def candidates(uid: int | None = None) -> list[str]:
    """Where a user's views can be, the place for new ones first."""
    uid = os.getuid() if uid is None else uid
    if chosen := os.environ.get("VIEWOS_RUNTIME_DIR"):
        return [os.path.abspath(chosen)]
    if uid == 0:
        return [_ROOT]
    login, fallback = f"/run/user/{uid}", f"/tmp/viewos-{uid}"
    try:
        ours = os.lstat(login).st_uid == uid
    except OSError:
        ours = False
    return [f"{login}/viewos", fallback] if ours else [fallback]


def directory() -> str:
    """The caller's own, made with mode 0700 where it is missing.

    Raises:
        PlaceError: it is somebody else's, a symbolic link, or can't be made.
    """
    path = candidates()[0]
    try:
        if path == _ROOT:
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            raise PlaceError(f"{path} is not a directory; remove it")
        if found.st_uid != os.geteuid():
            raise PlaceError(
                f"{path} belongs to uid {found.st_uid}, not to you; "
                "have it removed, or set VIEWOS_RUNTIME_DIR to a directory of yours"
            )
        if found.st_mode & 0o077:
            os.chmod(path, 0o700)
    except OSError as error:
        raise PlaceError(
            f"{path}: {error.strerror}; set VIEWOS_RUNTIME_DIR to a directory that you can write"
        ) from None
    return path


def socket_path(serverid: int, uid: int | None = None) -> str:
    """The control socket of a view; where it is if it exists, else where it would be made."""
    places = [f"{place}/{serverid}.sock" for place in candidates(uid)]
    return next(filter(os.path.lexists, places), places[0])


def log_path(serverid: int) -> str:
    """Where a supervisor without -o writes what only its user can need."""
    return f"{candidates()[0]}/{serverid}.log"


def listen() -> socket.socket:
    """Make and listen on a view's control socket, close-on-exec and non-blocking.

    Nobody finds it before `publish`: what has a view's name listens, and is no dead one's.

    Raises:
        PlaceError: the directory can't be used.
    """
    place = directory()
    _sweep(place)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    fresh = _fresh(os.getpid())
    try:
        _unlink(f"{place}/{fresh}")
        with _Near(place) as near:
            control.bind(near(fresh))
        control.listen(64)
    except OSError as error:
        control.close()
        raise PlaceError(
            f"{place}: {error.strerror}; make room, or set VIEWOS_RUNTIME_DIR to another directory"
        ) from None
    return control


def publish(maker: int, serverid: int) -> None:
    """Give the socket that process ``maker`` made by `listen` its view's name.

    Raises:
        PlaceError: the directory can't be used.
    """
    place = candidates()[0]
    try:
        os.rename(f"{place}/{_fresh(maker)}", f"{place}/{serverid}.sock")
    except OSError as error:
        raise PlaceError(f"{place}: {error.strerror}") from None


def abandon() -> None:
    """Remove our own socket if it was never published."""
    _unlink(f"{candidates()[0]}/{_fresh(os.getpid())}")


def _fresh(maker: int) -> str:
    return f".{maker}.new"


def _sweep(place: str) -> None:
    """Remove sockets whose maker was killed before it could publish them."""
    with contextlib.suppress(OSError):
        for name in os.listdir(place):
            maker = name.removeprefix(".").removesuffix(".new")
            if (
                name == f".{maker}.new"
                and maker.isdecimal()
                and not os.path.exists(f"/proc/{maker}")
            ):
                # Of another pid namespace, or handed on already? Then somebody listens.
                with contextlib.suppress(FileNotFoundError):
                    try:
                        _connected(place, name).close()
                    except ConnectionRefusedError:
                        _unlink(f"{place}/{name}")


def connect(serverid: int, uid: int | None = None) -> socket.socket:
    """A blocking connection to a view's control socket.

    Raises:
        OSError: FileNotFoundError or ConnectionRefusedError: no such view; PermissionError.
    """
    return _connected(*os.path.split(socket_path(serverid, uid)))


def _connected(place: str, name: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _Near(place) as near:
            connection.connect(near(name))
    except OSError:
        connection.close()
        raise
    return connection


def sockets(uid: int | None = None) -> dict[int, str]:
    """Serverid and socket of every view of a user that is alive. Names of dead ones are removed."""
    alive: dict[int, str] = {}
    for place in candidates(uid):
        _sweep(place)
    for serverid, path in names(uid).items():
        try:
            connect(serverid, uid).close()
        except (ConnectionRefusedError, FileNotFoundError):
            _unlink(path)
        except OSError:
            continue
        else:
            alive[serverid] = path
    return alive


def names(uid: int | None = None) -> dict[int, str]:
    """Serverid and socket of every view of a user, dead ones too. Nobody is asked."""
    found: dict[int, str] = {}
    for place in candidates(uid):
        try:
            entries = os.listdir(place)
        except OSError:
            continue
        for name in entries:
            number, dot, kind = name.partition(".")
            if dot and kind == "sock" and number.isdecimal():
                found[int(number)] = f"{place}/{name}"
    return dict(sorted(found.items()))


def note(serverid: int, line: str) -> None:
    """Add a line to a view's log, if it can be written."""
    try:
        with open(log_path(serverid), "a", encoding="utf-8") as log:
            log.write(f"{line}\n")
    except OSError:
        pass


def remove(serverid: int) -> None:
    """Take a view's names away; none of them need be there."""
    _unlink(socket_path(serverid))


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


class _Near:
    """Short names for sockets in a directory, which may have any length: a socket's own path is
    limited to 107 bytes, unix(7).
    """

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> _Near:
        self._number = os.open(self._place, os.O_PATH | os.O_DIRECTORY)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._number)

    def __call__(self, name: str) -> str:
        return f"/proc/self/fd/{self._number}/{name}"
