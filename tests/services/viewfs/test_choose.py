"""Which engine overlays: every cell of the table in docs/viewfs.md."""

from __future__ import annotations

import errno
import re
from dataclasses import replace
from pathlib import Path

import pytest

from viewos_viewfs.choose import Engine, Facts, choose, why_not_kernel

KERNEL, TREE = Engine.KERNEL, Engine.TREE
ROOTS, OWN, FOREIGN = "root", "own", "others'"
MODES = {"cow": Facts(), "mincow": Facts(mode="mincow"), "merge": Facts(mode="merge")}
MODES |= {f"{name}, vstat": replace(facts, vstat=True) for name, facts in MODES.items()}
STACKED = "cow, several layers"
MODES[STACKED] = Facts(lowers=2)

# Mode: of root's view, of an ordinary user's on a target of its own, on one of others'.
TABLE = {
    "cow": (KERNEL, KERNEL, TREE),
    "cow, several layers": (KERNEL, KERNEL, TREE),
    "mincow": (TREE, TREE, TREE),
    "merge": (TREE, TREE, TREE),
    "cow, vstat": (TREE, TREE, TREE),
    "mincow, vstat": (TREE, TREE, TREE),
    "merge, vstat": (TREE, TREE, TREE),
}
CELLS = [
    (mode, who, engine)
    for mode, engines in TABLE.items()
    for who, engine in zip((ROOTS, OWN, FOREIGN), engines, strict=True)
]


def facts_of(mode: str, who: str) -> Facts:
    return replace(MODES[mode], owner_mapped=who != FOREIGN)


@pytest.mark.parametrize(("mode", "who", "engine"), CELLS)
def test_the_engine_is_the_kernels_wherever_it_can_do_the_job(mode, who, engine):
    assert choose(facts_of(mode, who)) is engine


@pytest.mark.parametrize(
    "change",
    [{"overlay": False}, {"layer_fs": "overlay"}, {"layer_fs": "nfs"}, {"layer_fs": "vfat"}],
)
@pytest.mark.parametrize(("mode", "who", "engine"), CELLS)
def test_where_the_kernel_can_not_all_cells_are_served(mode, who, engine, change):
    assert choose(replace(facts_of(mode, who), **change)) is TREE


def test_stacked_layers_are_served_where_the_kernel_takes_one_text_alone():
    assert choose(replace(MODES[STACKED], appends=False)) is TREE
    assert choose(replace(MODES["cow"], appends=False)) is KERNEL


@pytest.mark.parametrize(("mode", "who", "engine"), CELLS)
def test_a_layer_without_xattrs_is_refused_in_words(mode, who, engine):
    facts = replace(facts_of(mode, who), xattrs=False, layer_fs="vfat")
    if mode == "merge":  # its changes go to the target
        assert choose(facts) is TREE
        return
    with pytest.raises(OSError, match="vfat, which has no extended attributes") as caught:
        choose(facts)
    assert caught.value.errno == errno.ENOTSUP


def test_a_reason_is_said_for_every_cell_that_is_served():
    for mode, who, engine in CELLS:
        assert bool(why_not_kernel(facts_of(mode, who))) is (engine is TREE)


def test_the_table_in_the_manual_is_this_one():
    manual = Path(__file__).parents[3] / "docs" / "viewfs.md"
    rows = re.findall(r"^\| `(.+?)` \| (\w+) \| (\w+) \| (\w+) \|$", manual.read_text(), re.M)
    told = {mode.replace("`", ""): engines for mode, *engines in rows}
    assert told == {
        mode: ["kernel" if engine is KERNEL else "tree" for engine in engines]
        for mode, engines in TABLE.items()
    }
