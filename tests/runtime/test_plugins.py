"""Services by name: what distributions offer, found with and without importlib.metadata."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from viewosd.errors import ServiceError
from viewosd.runtime import plugins

GOOD = "from viewosd import Service\nclass Box(Service):\n    name = 'box'\n"


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Install a distribution: a module, and an entry_points.txt."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(dist: str, points: str, module: str = "", text: str = GOOD) -> None:
        place = tmp_path / f"{dist}-1.dist-info"
        place.mkdir()
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1\n")
        (place / "entry_points.txt").write_bytes(points.encode("latin-1"))
        if module:
            (tmp_path / f"{module}.py").write_text(text)

    yield install
    for name in ("holds_one", "holds_two"):
        sys.modules.pop(name, None)


def test_a_service_is_found_among_other_entry_points(offer):
    offer("odd", "[viewosd.services]\n\xe9 = a:B\n", "")
    offer(
        "one",
        "[console_scripts]\nbox = holds_one:none\n\n[viewosd.services]\nother=x:Y\n"
        "box = holds_one:Box\n[gui]\nbox = z:Z\n",
        "holds_one",
    )
    assert plugins.find("box").__module__ == "holds_one"


def test_who_is_offered_twice_is_the_first_ones(offer):
    offer("one", "[viewosd.services]\nbox = holds_one:Box\n", "holds_one")
    offer("two", "[viewosd.services]\nbox = holds_two:Box\n", "holds_two")
    first = next(point for point in plugins.installed() if point.name == "box")
    assert plugins.find("box").__module__ == first.module


def test_a_class_within_another_is_found(offer):
    text = GOOD.replace("class", "class Outer:\n  class").replace("    name", "      name")
    offer("one", "[viewosd.services]\nbox = holds_one:Outer.Box\n", "holds_one", text)
    assert plugins.find("box").name == "box"


@pytest.mark.parametrize("text", ["import holds_none\n", "", "raise SystemExit(3)\n"])
def test_one_that_cant_be_loaded_is_named_with_its_maker(offer, text):
    offer("one", "[viewosd.services]\nbox = holds_one:Box\n", "holds_one", text)
    with pytest.raises(ServiceError, match="service box of one can't be loaded: "):
        plugins.find("box")


def test_an_unknown_one_is_told_what_there_is(offer):
    offer("one", "[viewosd.services]\nbox = holds_one:Box\n", "holds_one")
    with pytest.raises(ServiceError, match=r"unknown service none \(installed: .*box"):
        plugins.find("none")


def test_an_installed_service_is_found_without_the_slow_way():
    root = Path(plugins.__file__).parent.parent.parent
    script = (
        f"import sys; sys.path[:0] = [{str(root)!r}, {str(root / 'services')!r}]\n"
        "from viewosd.runtime import plugins\n"
        "print(plugins.find('viewfs').name, 'importlib.metadata' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("viewfs False\n", "")
