"""Changes as a patch that patch(1) and git-apply(1) understand; binary files in words.

Source of the format: git-diff(1), "Generating patch text with -p".
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final

from .changes import Change
from .entry import Entry, link_text, opened
from .unsafe import open_beneath

_LOOK: Final = 8000
"""Bytes in which a NUL says that a file is binary, as in git."""
_MANY: Final = 20_000
"""Lines above which two versions are not compared line by line: one replaces the other whole."""
_CONTEXT: Final = 3
_BIG: Final = 1 << 28
"""Bytes above which a file counts as binary."""
_Span = tuple[int, int, int, int]
"""Lines of the old version that become lines of the new one."""


def patch(change: Change, shown: str, upper: int, target: int) -> Iterator[bytes]:
    """The pieces of one change's patch, whole lines.

    Args:
        shown: its path in the patch.
        upper, target: the layer's directory of changes, and what they are compared with.
    """
    new, old = change.new, change.old
    if change.entry.is_dir and (old is None or new is None or old.is_dir):
        return  # a patch knows no directories
    name = os.fsencode(shown)
    yield b"diff --git %s %s\n" % (_quoted(b"a/" + name), _quoted(b"b/" + name))
    if old is not None and new is not None and old.type != new.type:
        if not old.is_dir:
            yield from _half(name, old, None, target, change.path)
        if not new.is_dir:
            if not old.is_dir:
                yield b"diff --git %s %s\n" % (_quoted(b"a/" + name), _quoted(b"b/" + name))
            yield from _half(name, None, new, upper, change.path)
        return
    if old is None or new is None:
        yield from _half(name, old, new, target if new is None else upper, change.path)
        return
    if stat.S_IMODE(old.mode) != stat.S_IMODE(new.mode):
        yield b"old mode %06o\nnew mode %06o\n" % (old.mode, new.mode)
    before, after = _content(target, change.path, old), _content(upper, change.path, new)
    if before != after:
        yield from _body(_quoted(b"a/" + name), _quoted(b"b/" + name), before, after)


def _half(
    name: bytes, old: Entry | None, new: Entry | None, root: int, path: str
) -> Iterator[bytes]:
    """A file that is new, or deleted."""
    null = b"/dev/null"
    if new is not None:
        yield b"new file mode %06o\n" % new.mode
        after = _content(root, path, new)
        yield from _body(null, _quoted(b"b/" + name), b"", after)
    elif old is not None:
        yield b"deleted file mode %06o\n" % old.mode
        before = _content(root, path, old)
        yield from _body(_quoted(b"a/" + name), null, before, b"")


def _content(root: int, path: str, entry: Entry) -> bytes | None:
    """What is compared; None: nothing that could be shown as lines."""
    parent, _, name = path.rpartition("/")
    directory = open_beneath(root, parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if stat.S_ISLNK(entry.mode):
            return os.fsencode(link_text(directory, name, entry))
        if not stat.S_ISREG(entry.mode) or entry.st.st_size > _BIG:
            return None
        with opened(directory, name) as fd:
            head = os.read(fd, _LOOK)
            if b"\0" in head:
                return None
            parts = [head]
            while part := os.read(fd, 1 << 20):
                parts.append(part)
        return b"".join(parts)
    except PermissionError:
        return None
    finally:
        os.close(directory)


def _body(a: bytes, b: bytes, before: bytes | None, after: bytes | None) -> Iterator[bytes]:
    if before is None or after is None:
        yield b"Binary files %s and %s differ\n" % (a, b)
        return
    if before == after:
        return  # an empty file that is new or gone
    # A tab ends a name with a space in it, for patch(1); git writes it too.
    yield b"--- %s%s\n+++ %s%s\n" % (a, _tab(a), b, _tab(b))
    if before and after:
        yield from _hunks(before, after)
    else:
        yield _whole(b"-" if before else b"+", before or after)


def _whole(sign: bytes, text: bytes) -> bytes:
    """A hunk of all lines of a file that is new, or gone."""
    ends = text.endswith(b"\n")
    span = b"1,%d" % (text.count(b"\n") + (not ends))
    spans = (span, b"0,0") if sign == b"-" else (b"0,0", span)
    lines = (text[:-1] if ends else text).replace(b"\n", b"\n" + sign)
    end = b"" if ends else b"\\ No newline at end of file\n"
    return b"@@ -%s +%s @@\n%s%s\n%s" % (*spans, sign, lines, end)


def _hunks(old_text: bytes, new_text: bytes) -> Iterator[bytes]:
    before, after = _lines_of(old_text), _lines_of(new_text)
    # What is equal at both ends costs nothing to compare.
    start, most = 0, min(len(before), len(after))
    while start < most and before[start] == after[start]:
        start += 1
    end = 0
    while end < most - start and before[-1 - end] == after[-1 - end]:
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if min(len(old), len(new)) == 0 or len(old) + len(new) > _MANY:
        codes: Sequence[tuple[str, int, int, int, int]] = [("replace", 0, len(old), 0, len(new))]
    else:
        codes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    spans = [
        (i1 + start, i2 + start, j1 + start, j2 + start)
        for tag, i1, i2, j1, j2 in codes
        if tag != "equal"
    ]
    for group in _grouped(spans):
        first, last = group[0], group[-1]
        low, high = max(first[0] - _CONTEXT, 0), min(last[1] + _CONTEXT, len(before))
        new_low, new_high = first[2] - (first[0] - low), last[3] + (high - last[1])
        yield b"@@ -%s +%s @@\n" % (_span(low, high), _span(new_low, new_high))
        at = low
        for i1, i2, j1, j2 in group:
            yield from _lines(b" ", before[at:i1])
            yield from _lines(b"-", before[i1:i2])
            yield from _lines(b"+", after[j1:j2])
            at = i2
        yield from _lines(b" ", before[at:high])


def _grouped(spans: Sequence[_Span]) -> Iterator[list[_Span]]:
    """Changes whose context would touch are one hunk."""
    group: list[_Span] = []
    for span in spans:
        if group and span[0] - group[-1][1] > 2 * _CONTEXT:
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _span(low: int, high: int) -> bytes:
    """Lines LOW to HIGH of a hunk's head: from 1, and before the first where there are none."""
    return b"%d,%d" % (low + 1 if high > low else low, high - low)


def _lines_of(text: bytes) -> list[bytes]:
    r"""The lines, with their ends; bytes.splitlines() splits at \r too."""
    *whole, rest = text.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


def _lines(sign: bytes, lines: Sequence[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield sign + line
        if not line.endswith(b"\n"):
            yield b"\n\\ No newline at end of file\n"


def _tab(name: bytes) -> bytes:
    return b"\t" if b" " in name else b""


def _quoted(name: bytes) -> bytes:
    """A name as git writes it: in C quotes where a patch would not survive it."""
    if not any(byte < 0x20 or byte in b'"\\\x7f' for byte in name):
        return name
    escapes = {ord("\n"): b"\\n", ord("\t"): b"\\t", ord('"'): b'\\"', ord("\\"): b"\\\\"}
    special = (byte < 0x20 or byte == 0x7F for byte in name)
    return b'"%s"' % b"".join(
        escapes.get(byte) or (b"\\%03o" % byte if odd else bytes([byte]))
        for byte, odd in zip(name, special, strict=True)
    )
