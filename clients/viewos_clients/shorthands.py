"""The shorthands of viewos-run for a file tree: each is only a service and a mount.

``--hide PATH`` is ``-p viewfs`` and ``viewmount -t viewfs -o hide none PATH``. A shorthand becomes
steps of `viewosd.keeper.plan.Plan`, in the order given, among the services of ``-p``. Paths are
taken from where we are.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from viewosd.keeper.plan import Step

WORDS: Final = {
    "hide": 1,
    "move": 2,
    "bind": 2,
    "ro": 1,
    "tmpfs": 1,
    "cow": 1,
    "mount": 3,
    "net": 1,
}
"""How many words each takes."""
# Mount types by how they begin, and the service that offers them; a plain type needs none.
_SERVICE_OF: Final = {
    "viewfs": "viewfs", "umfuse": "umfuse", "umnet": "net", "umdev": "umdev",
    "umbinfmt": "umbinfmt", "ummisc": "misc",
}  # fmt: skip


class ShorthandError(Exception):
    """The words make no mount; one line."""


def steps(name: str, words: Sequence[str], before: Sequence[Step]) -> list[Step]:
    """What a shorthand comes to.

    Args:
        name: one of `WORDS`, with as many ``words``.
        before: the steps so far: a service that is among them is not loaded again.

    Raises:
        ShorthandError: a word is empty, or no mount type.
    """
    if not all(words):
        raise ShorthandError(f"--{name}: an empty word names nothing")
    mount = _mount(name, words)
    service = next((s for start, s in _SERVICE_OF.items() if mount[1].startswith(start)), None)
    loaded = {text.partition(",")[0] for kind, text, *_ in before if kind == "service"}
    if service is None or service in loaded:
        return [mount]
    return [("service", service), mount]


def _mount(name: str, words: Sequence[str]) -> tuple[str, str, str, bytes, bytes]:
    """A step of the plan: "mount", type, options, source, target."""
    if name == "mount":
        type, _, options = words[0].partition(",")
        if not type:
            raise ShorthandError(f"--mount {words[0]}: TYPE[,OPTION]... begins with a type")
        return "mount", type, options, os.fsencode(source_of(words[1])), absolute(words[2])
    if name == "net":
        return _net(words[0])
    options, source = name, b"none"
    if name in ("move", "bind", "ro"):
        source = absolute(words[0])
    target = words[-1]
    if name == "cow":
        target, layers = _cow(words[0])
        if layers:
            options += ",layer=" + ":".join(map(_layer, layers.split(":")))
    return "mount", "viewfs", options, source, absolute(target)


def _net(word: str) -> tuple[str, str, str, bytes, bytes]:
    """SPEC[,name=NAME]...: the mount of a stack, everybody's unless it has a name."""
    kind, *options = word.split(",")
    target, given = b"/dev/net/default", []
    for option in options:
        key, _, value = option.partition("=")
        if key == "name":
            if not value or "/" in value or value in (".", ".."):
                raise ShorthandError(f"--net {word}: name= is a name below /dev/net")
            target = b"/dev/net/" + os.fsencode(value)
        else:
            given.append(option)
    if kind == "host" and not given:
        return "mount", "umnetnative", "", b"none", target
    if kind not in ("none", "nat"):
        later = kind.startswith("lan:")
        why = "not part of this installation yet" if later else "it is none, host, nat or lan:NAME"
        raise ShorthandError(f"--net {word}: {why}")
    return "mount", "umnetns", ",".join(["nat"] * (kind == "nat") + given), b"none", target


def publish(word: str, before: Sequence[Step]) -> list[Step]:
    """``--publish [HOSTADDR:]HOSTPORT:PORT[/udp]``: one more option of the last ``--net nat``.

    Raises:
        ShorthandError: there is none.
    """
    steps = list(before)
    for at in reversed(range(len(steps))):
        step = steps[at]
        if len(step) == 5 and step[1] == "umnetns" and step[2].split(",")[0] == "nat":
            steps[at] = ("mount", "umnetns", f"{step[2]},publish={word}", step[3], step[4])
            return steps
    raise ShorthandError(f"--publish {word}: it goes with --net nat")


def absolute(word: str) -> bytes:
    """A path from where we are, as one from the root."""
    return os.fsencode(os.path.abspath(word))


def source_of(word: str) -> str:
    """What a source means is for its type to say: it is a path if there is such a file here."""
    here = word != "none" and (word[:2] in ("./", "..", ".") or os.path.lexists(word))
    return os.path.abspath(word) if here else word


def _cow(word: str) -> tuple[str, str]:
    """PATH[=LAYER[:LAYER]...]: the path, and the layers as they are written, "" for the view's."""
    path, equals, layers = word.partition("=")
    if not equals or os.path.lexists(word):
        return word, ""
    if not path or not all(layers.split(":")):
        raise ShorthandError(f"--cow {word}: PATH=LAYER needs both")
    return path, layers


def _layer(word: str) -> str:
    """A directory, or @NAME, as the mount option wants it."""
    text = word if word[0] == "@" else os.path.abspath(word)
    return text.replace("\\", "\\\\").replace(",", "\\,")
