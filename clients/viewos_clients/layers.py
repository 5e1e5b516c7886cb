"""``viewos diff``, ``commit``, ``discard`` and ``layers``: what copy-on-write layers changed.

The work is done by ``python -m viewos_viewfs.layers``, which is no part of this package: started by
us where ``--layer`` names a layer and we are outside, else by the view's supervisor, outside of
the view, with our streams (docs/decisions/0014-layers-are-worked-on-by-a-program.md).
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from typing import Any, Final, NoReturn

from .output import complain
from .session import NoView, Refused, Session, everywhere, inside, locate

WORKER: Final = (sys.executable, "-P", "-m", "viewos_viewfs.layers")
TROUBLE: Final = 2
"""Exit status, as of diff(1)."""


def diff(asked: Namespace) -> int:
    """List or show changes; 0 none, 1 some."""
    return _work("diff", asked, json=asked.json, patch=asked.patch)


def commit(asked: Namespace) -> int:
    """Carry changes out; 0 done, 1 refused."""
    return _work("commit", asked, force=asked.force)


def discard(asked: Namespace) -> int:
    """Forget changes."""
    return _work("discard", asked)


def layers(asked: Namespace) -> NoReturn:
    """List the layers that have a name."""
    _become("layers", ["--json"] if asked.json else [])


def _work(what: str, asked: Namespace, **switches: bool) -> int:
    view, paths = _view(asked)
    arguments: dict[str, Any] = {name: on for name, on in switches.items() if on}
    arguments["paths"] = [_path(path) for path in paths]
    if asked.layer is not None:
        if not _has_tree():
            words = [f"--{name}" for name in arguments if name != "paths"]
            words += ["--layer", asked.layer, *(["--target", asked.target] if asked.target else [])]
            _become(what, [*words, "--", *paths])
        named = asked.layer.startswith("@")
        arguments["layer"] = os.fsencode(asked.layer) if named else _path(asked.layer)
        arguments |= {"target": _path(asked.target)} if asked.target else {}
    try:
        session, id = locate(view)
        with session:
            told = session.call("ask", id, "viewfs", what, arguments, fds=(0, 1, 2))
    except (Refused, ConnectionError) as error:
        complain(f"viewos {what}", str(error))
        return TROUBLE
    except NoView as error:
        if error.views:
            raise
        complain(f"viewos {what}", f"{error}; --layer LAYER names one of no view")
        return TROUBLE
    code = os.waitstatus_to_exitcode(told["status"])
    return code if code >= 0 else 128 - code


def _has_tree() -> bool:
    """Are we in a view that sees other files? Then the work is done outside of it."""
    session = inside()
    if session is None:
        return False
    with session:
        return any(row["name"] == "viewfs" for row in session.call("list", None))


def _become(what: str, words: list[str]) -> NoReturn:
    """Be the program that does it."""
    sys.stdout.flush()
    os.execv(WORKER[0], [*WORKER, what, *words])


def _path(word: str) -> bytes:
    """Absolute, as the view names it: symbolic links above the last name are resolved."""
    above, name = os.path.split(word)
    if name in ("", ".", ".."):
        return os.fsencode(os.path.realpath(word))
    return os.fsencode(os.path.join(os.path.realpath(above or "."), name))


def _view(asked: Namespace) -> tuple[str | None, list[str]]:
    """The view, and the paths: a first word that names a view, and is no file here, is the view."""
    if asked.view is not None or not asked.paths or asked.layer is not None:
        return asked.view, asked.paths
    first = asked.paths[0]
    if "/" in first or os.path.lexists(first):
        return None, asked.paths
    if first.replace(":", "", 1).isdecimal() or first in _names():
        return first, asked.paths[1:]
    return None, asked.paths


def _names() -> set[str]:
    sessions: list[Session] = everywhere()
    found = {name for session in sessions for _, name in session.views if name}
    for session in sessions:
        session.close()
    return found
