"""``python -m viewos_viewfs.layers``: what ``viewos diff``, ``commit``, ``discard`` are.

It works outside of views, with the rights of whoever runs it: a view's supervisor starts it for
whoever asks inside, ``viewos diff --layer LAYER`` is it. Exit status, as diff(1) has it: 0 no
change, or done; 1 changes, or refused before anything was changed; 2 trouble.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final, NamedTuple

from .changes import Change, as_line, as_row, printable, shown
from .commit import Refused, commit, select
from .discard import discard
from .patch import patch
from .store import Layer, LayerError, Part, by_part, named
from .walk import Walk

SHOWN: Final = 20
"""Reasons of a refusal that are listed."""


class On(NamedTuple):
    """A layer, and what it lies over."""

    layer: Layer
    target: str


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    with suppress(ValueError, OSError):  # a tree is held open from its top to where we are
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asked = _parser().parse_intermixed_args(words)
    prog = f"viewos {asked.what}"
    try:
        if asked.what == "layers":
            return _layers(asked)
        on = [_on(*pair) for pair in asked.on or ()]
        if asked.layer is not None:
            on.append(_on(asked.layer, asked.target))
        if not on:
            raise LayerError("there is no copy-on-write layer here; --cow PATH makes one")
        return _COMMANDS[asked.what](asked, on)
    except LayerError as error:
        print(f"{prog}: {printable(str(error))}", file=sys.stderr)
    except OSError as error:
        where = f"{printable(os.fsdecode(error.filename))}: " if error.filename else ""
        print(f"{prog}: {where}{error.strerror or error}{_more(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 2


def _parser() -> ArgumentParser:
    parser = ArgumentParser("viewos_viewfs.layers", description=__doc__)
    parser.add_argument("what", choices=(*_COMMANDS, "layers"))
    parser.add_argument("--on", nargs=2, action="append", metavar=("LAYER", "TARGET"))
    parser.add_argument("--layer", metavar="LAYER", help="a directory, or @NAME")
    parser.add_argument("--target", help="what it lies over, where it does not say so itself")
    parser.add_argument("--mounted", action="store_true", help="a view has them mounted")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--patch", action="store_true")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("paths", nargs="*", metavar="PATH")
    return parser


def _on(text: str, target: str | None) -> On:
    layer = Layer(text)
    return On(layer, os.path.abspath(target or layer.target()))


def _more(error: OSError) -> str:
    """What the errno means here, where strerror(3) does not say it."""
    names = {
        "EXDEV": " (it is a mount point outside; what the view saw of it lies hidden below)",
        "ELOOP": " (there is a symbolic link in its place outside)",
    }
    return next((text for name, text in names.items() if error.errno == getattr(errno, name)), "")


def _diff(asked: Namespace, every: Sequence[On]) -> int:
    count = 0
    if asked.json:
        print("[", end="")
    for on, paths in _with_paths(asked, every):
        for part, inner in by_part(on.layer.parts(), paths):
            for change, upper, target in _found(on, part, inner):
                where = shown(on.target, part.below)
                count += 1
                if asked.json:
                    row = json.dumps(as_row(change, where))
                    print(f"{',' if count > 1 else ''}\n  {row}", end="")
                elif asked.patch:
                    name = shown(part.below, change.path) if part.below else change.path
                    sys.stdout.buffer.writelines(patch(change, name, upper, target))
                else:
                    print(as_line(change, where))
    if asked.json:
        print("\n]" if count else "]")
    return 1 if count else 0


def _found(on: On, part: Part, paths: list[str] | None) -> Iterator[tuple[Change, int, int]]:
    """The changes of a part, with descriptors of it, and of what it lies over."""
    with ExitStack() as stack:
        upper = part.open_upper()
        stack.callback(os.close, upper)
        target = part.open_target(on.target)
        stack.callback(os.close, target)
        walk = Walk(upper, target)
        found: Iterable[Change] = walk.changes()
        try:
            for change in found if paths is None else select(list(found), paths):
                yield change, upper, target
        except OSError as error:
            error.filename = shown(shown(on.target, part.below), error.filename or "")
            raise
        for path in walk.closed:
            where = printable(shown(shown(on.target, part.below), path))
            print(f"viewos diff: {where}: can't be read; compared with nothing", file=sys.stderr)


def _commit(asked: Namespace, every: Sequence[On]) -> int:
    done = 0
    for on, paths in _with_paths(asked, every):
        try:
            committed = commit(on.layer, on.target, paths, force=asked.force, mounted=asked.mounted)
        except Refused as refused:
            _say_refused(refused, on.target)
            return 1
        except OSError as error:
            if isinstance(error.filename, str) and not error.filename.startswith("/"):
                error.filename = shown(on.target, error.filename)
            raise
        done += committed.done
        for path in committed.skipped:
            where = printable(shown(on.target, path))
            print(f"viewos commit: {where}: a socket can't be committed", file=sys.stderr)
    print(f"{done} {'change' if done == 1 else 'changes'} committed")
    return 0


def _say_refused(refused: Refused, target: str) -> None:
    say = [f"{shown(target, path)}: {reason}" for path, reason in refused.reasons]
    for line in say[:SHOWN]:
        print(f"viewos commit: {printable(line)}", file=sys.stderr)
    if len(say) > SHOWN:
        print(f"viewos commit: and {len(say) - SHOWN} more", file=sys.stderr)
    how = "; --force overwrites what was changed outside" if refused.conflicts else ""
    print(f"viewos commit: nothing was committed{how}", file=sys.stderr)


def _discard(asked: Namespace, every: Sequence[On]) -> int:
    if asked.paths:
        raise LayerError("a layer is discarded whole; delete a file in the view to be rid of it")
    if asked.mounted:
        raise LayerError("the layer is in use: it is discarded when the view has ended")
    for on in every:
        discard(on.layer)
    return 0


def _layers(asked: Namespace) -> int:
    rows = [_row(layer) for layer in named()]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["created"]))
        use = "  (in use)" if row["mounted"] else ""
        print(f"{row['name']}  {since}  {printable(row['target'] or '-')}{use}")
    return 0


def _row(layer: Layer) -> dict[str, Any]:
    meta = layer.meta()
    return {
        "name": layer.name,
        "path": layer.path,
        "target": meta.get("target"),
        "created": layer.created_ns() / 10**9,
        "mounted": layer.mounted(),
    }


def _with_paths(asked: Namespace, every: Sequence[On]) -> Iterator[tuple[On, list[str] | None]]:
    """The layers that are meant, each with paths relative to its target; None: all of it.

    Raises:
        LayerError: a path lies in no layer.
    """
    if not asked.paths:
        yield from ((on, None) for on in every)
        return
    meant: dict[int, list[str]] = {}
    for path in map(os.path.abspath, asked.paths):
        over = [i for i, on in enumerate(every) if _below(path, on.target)]
        if not over:
            raise LayerError(f"{path} lies in no copy-on-write layer")
        deepest = max(over, key=lambda i: len(every[i].target))
        meant.setdefault(deepest, []).append(os.path.relpath(path, every[deepest].target))
    for i, paths in meant.items():
        yield every[i], ["" if path == "." else path for path in paths]


def _below(path: str, target: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{target.rstrip('/')}/")


_COMMANDS: Final = {"diff": _diff, "commit": _commit, "discard": _discard}

if __name__ == "__main__":
    sys.exit(main())
