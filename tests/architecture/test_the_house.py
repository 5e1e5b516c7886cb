"""Rules about the code itself, beside the import contracts of pyproject.toml."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = sorted(
    path for folder in ("viewosd", "services", "clients") for path in (ROOT / folder).rglob("*.py")
)
LONGEST, LONGEST_TABLE = 400, 600


def imports(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_ctypes_is_used_in_files_named_unsafe_only():
    assert [p for p in PRODUCT if "ctypes" in imports(p) and p.name != "unsafe.py"] == []


@pytest.mark.parametrize("path", PRODUCT, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_too_long_to_be_read(path):
    """400 lines; tables, which are looked up and not read, 600."""
    is_table = path.parent.name in ("abi", "syscalls")
    assert len(path.read_text().splitlines()) <= (LONGEST_TABLE if is_table else LONGEST)


def test_every_module_says_what_it_is():
    silent = [
        p for p in PRODUCT if p.stat().st_size and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert silent == []


def test_the_keeper_and_the_clients_load_nothing_that_is_slow():
    code = (
        "import sys, viewos_clients.run\n"
        "slow = {'trio', 'msgspec', 'inspect', 'dataclasses', 'asyncio', 'viewosd.core'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_there():
    import viewosd

    for name in viewosd.__all__:
        assert getattr(viewosd, name) is not None
    with pytest.raises(AttributeError):
        viewosd.nothing_of_the_kind  # noqa: B018


def test_no_path_of_a_developers_machine_is_in_the_tree():
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    paths = re.compile(r"(?<![\w}])/(?:wor[k]|roo[t]|far[m])/")
    found = [
        name
        for name in filter(None, tracked)
        if (ROOT / name).is_file() and paths.search((ROOT / name).read_text(errors="replace"))
    ]
    assert found == []


def test_decisions_that_are_named_exist():
    numbers = {p.name[:4] for p in (ROOT / "docs/decisions").glob("*.md")}
    for path in PRODUCT:
        for number in re.findall(r"docs/decisions/(\d{4})", path.read_text()):
            assert number in numbers, f"{path} names decision {number}"
