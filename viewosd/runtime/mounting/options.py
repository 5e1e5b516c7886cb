r"""The options of a mount: the ``data`` of mount(2), split and put together again. Pure.

Options are split at commas; ``\,`` is a comma inside one, as overlayfs has it
(fs/overlayfs/params.c:ovl_next_opt()). The backslash stays in what is put together again. A text
of the kernel's is bytes; here it is str with surrogates for what is no UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

PERMANENT: Final = "permanent"
"""The one option that is ours in every type: it can't be unmounted."""

Options = list[tuple[str, str]]


def split(data: bytes, *, raw: bool = False) -> Options:
    """(name, value) in order; a bare option has the value ""; empty ones are left out.

    Args:
        raw: with the backslashes.
    """
    text = data.decode(errors="surrogateescape")
    parts = [part if raw else plain(part) for part in _pieces(text, ",") if part]
    return [(name, value) for name, _, value in (part.partition("=") for part in parts)]


def join(options: Iterable[tuple[str, str]]) -> bytes:
    """The ``data`` of mount(2) again."""
    return b",".join(
        _escaped(name + ("=" + value if value else "")).encode(errors="surrogateescape")
        for name, value in options
    )


def take(data: bytes, word: str) -> tuple[bytes, bool]:
    """``data`` without a bare option, everything else as it was written; was it there?"""
    wanted = word.encode()
    parts = _pieces(data.decode(errors="surrogateescape"), ",")
    encoded = [part.encode(errors="surrogateescape") for part in parts]
    kept = [part for part in encoded if part != wanted]
    return (b",".join(kept), True) if len(kept) < len(encoded) else (data, False)


def layers(value: str) -> list[str]:
    r"""The directories of overlayfs's ``lowerdir``, topmost first; ``\:`` is a colon in a name.

    Raises:
        ValueError: with data-only layers (``::``), which have no other form than this text.
    """
    parts = _pieces(value, ":")
    if "" in parts:
        raise ValueError(value)
    return [plain(part) for part in parts]


def layer_text(path: str) -> str:
    """A directory as a part of ``lowerdir``."""
    return re.sub(r"([\\:])", r"\\\1", path)


def set_numbers(options: Sequence[tuple[str, str]], numbers: dict[str, str]) -> Options:
    """The options with those named set to other values, where they are there."""
    return [(name, numbers.get(name, value)) for name, value in options]


def _pieces(text: str, separator: str) -> list[str]:
    """Split where no backslash stands before; backslashes stay."""
    parts, part, escaped = [], "", False
    for char in text:
        if char == separator and not escaped:
            parts.append(part)
            part = ""
        else:
            part += char
        escaped = char == "\\" and not escaped
    parts.append(part)
    return parts


def plain(text: str) -> str:
    """Without the backslashes."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _escaped(text: str) -> str:
    return re.sub(r"([\\,])", r"\\\1", text)
