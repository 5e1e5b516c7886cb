"""What the documents show is what happens.

Of a document, every block of a language that can be run is run, in the order of the text and in one
directory: ``python`` and ``toml`` blocks that begin with ``# NAME`` are files, as ``sh`` blocks that
begin with ``#!/bin/sh`` and that; ``console`` blocks are commands and what they print. In what they print, ``…`` stands for anything within a line, and a line
``…`` for any lines.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.pty import Terminal
from helpers.waiting import LIMIT, until

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "GLOSSARY.md", "CONTRIBUTING.md")]
DOCS += sorted((ROOT / "docs").rglob("*.md"))
RUN = ["docs/write-a-service.md", "docs/control.md", "docs/installers.md"]
NEED = {
    "docs/umfuse.md": "fuse2fs squashfuse mke2fs e2fsck debugfs mksquashfs fusermount3",
}
"""Programs of others, by the guide that shows them."""
RUN += NEED
SCRIPTS = Path(sys.executable).parent
FUSE = os.access("/dev/fuse", os.R_OK | os.W_OK)
HOST = "desk"
"""What the README calls this machine."""


@dataclass
class Block:
    """A fenced block: its language, its text, and the line where it stands."""

    language: str
    text: str
    line: int


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text()
    fences = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [Block(f[1], f[2], text.count("\n", 0, f.start()) + 2) for f in fences]


def commands(block: Block) -> list[tuple[str, str, str]]:
    """(prompt, command, what it prints) of a ``console`` block."""
    parts = re.split(r"^(\w*\$) (.*)\n", block.text, flags=re.M)
    assert not parts[0], f"line {block.line}: a console block begins with a prompt"
    return list(zip(parts[1::3], parts[2::3], parts[3::3], strict=True))


def assert_shown(what: str, printed: str, shown: str) -> None:
    lines = (
        "(?:[^\\n]*\\n)*" if line == "…" else re.escape(line).replace("…", "[^\\n]*") + "\\n"
        for line in shown.splitlines()
    )
    if not re.fullmatch("".join(lines), printed):
        pytest.fail(f"{what}\nprints:\n{printed}\nand is shown with:\n{shown}", pytrace=False)


@pytest.fixture
def place(tmp_path: Path, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory to work in, as the documents assume: commands are found, no view is there."""
    if not (SCRIPTS / "viewos-run").exists():
        pytest.skip("needs viewosd to be installed beside the interpreter")
    here = tmp_path / "here"
    here.mkdir()
    (here / ".bashrc").write_text("PS1='\\h$ '\n")
    for name, value in {
        "HOME": str(here), "PATH": f"{SCRIPTS}:{os.environ['PATH']}", "PYTHONPATH": "",
        "PYTHONDONTWRITEBYTECODE": "1", "TERM": "dumb", "HISTFILE": "", "LC_ALL": "C.UTF-8",
        "COLUMNS": "200",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(here)
    yield here
    for name in runtime_dir.glob("[0-9]*.sock"):
        subprocess.run(["viewos", "stop", name.stem, "5"], stderr=subprocess.DEVNULL, timeout=LIMIT)
    until(lambda: not subprocess.check_output(["viewos", "ls"], timeout=LIMIT), "the views' end")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", RUN)
def test_what_a_guide_shows_is_what_happens(place, document):
    left_out = []
    if "viewos-run --cow /" in (ROOT / document).read_text() and os.geteuid() and not FUSE:
        pytest.skip("needs a /dev/fuse that may be opened")
    missing = [name for name in NEED.get(document, "").split() if shutil.which(name) is None]
    if missing or (document in NEED and not FUSE):
        pytest.skip(f"not here: {', '.join(missing) or 'a /dev/fuse that may be opened'}")
    for block in blocks(document):
        script = block.text.startswith("#!/bin/sh\n")
        if block.language in ("python", "toml") or script:
            name = re.match(r"(?:#!/bin/sh\n)?# (\S+\.\w+)\n", block.text)
            assert name, f"line {block.line}: a block that names no file can't be run"
            (place / name[1]).write_text(block.text)
        elif block.language == "console":
            for _, command, shown in commands(block):
                if "viewmount" in command and not FUSE:
                    left_out.append(f"line {block.line}")
                    continue
                done = subprocess.run(
                    ["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, text=True, timeout=LIMIT,
                )  # fmt: skip
                assert_shown(f"line {block.line}: {command}", done.stdout, shown)
    if left_out:
        pytest.skip(f"all is so but {', '.join(left_out)}: needs a /dev/fuse that may be opened")


@pytest.mark.timeout(300)
def test_the_terminal_session_of_the_readme_goes_as_shown(place):
    (session,) = (b for b in blocks("README.md") if b.language == "console")
    typed = commands(session)
    (place / "motd.py").write_text(next(shown for _, c, shown in typed if c == "cat motd.py"))
    host = socket.gethostname().partition(".")[0]
    at_prompt = r"(?s)\A(?:.*\n)?([\w.-]+\$) \Z"
    with Terminal(["bash"], rows=50, columns=200) as terminal:
        prompt = terminal.expect(at_prompt)[1].decode().replace(host, HOST)
        for expected, command, shown in typed:
            assert prompt == expected, command
            terminal.seen, terminal._from = b"", 0
            terminal.send(command + "\n")
            found = terminal.expect(at_prompt)
            prompt = found[1].decode().replace(host, HOST)
            _, _, printed = (
                found[0][: found.start(1)].decode().replace("\r\n", "\n").partition("\n")
            )
            assert_shown(f"{expected} {command}", printed.replace(host, HOST), shown)


def _targets(path: Path) -> list[str]:
    """Files that a document names: links, and paths in backticks that look like ours."""
    whole = path.read_text()
    scripts = re.findall(r"^sh (\S+)", whole, re.M)
    text = re.sub(r"^```.*?^```$", "", whole, flags=re.M | re.S)
    links = [t for t in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in t]
    names = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[A-Z]+\.md)`", text)
    folders = tuple(p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith("."))
    ours = [n for n in names if n.split("/")[0] in folders or n.endswith(".md")]
    return scripts + links + [n for n in ours if not re.search(r"NAME|NNNN", n)]


@pytest.mark.parametrize("path", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_that_a_document_names_exists(path):
    missing = [
        target
        for target in _targets(path)
        if not (path.parent / target).exists() and not (ROOT / target).exists()
    ]
    assert missing == []
