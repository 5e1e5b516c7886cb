"""What an ordinary user may not read outside: compared with nothing, and never committed half."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from conftest import NOBODY
from helpers.apart import in_child
from helpers.files import remove
from helpers.layer import Tree, write
from viewos_viewfs.layers import Refused, commit
from viewos_viewfs.layers.__main__ import main

pytestmark = pytest.mark.root


@pytest.fixture
def closed(scratch: Path):
    """A user's target with a directory and files of root's, and a layer that has changed them."""
    place = Path(tempfile.mkdtemp(prefix="closed-", dir=scratch))
    place.chmod(0o755)
    tree = Tree(place)
    write(tree.target / "secret/inner", "x")
    write(tree.target / "gone/inner", "x")
    for name, text in (("lock", ""), ("shadow", "root's")):
        write(tree.target / name, text, 0o600)
    for name in ("secret", "gone"):
        (tree.target / name).chmod(0o700)
    tree.later()
    write(tree.upper / "secret/made", "x")
    write(tree.upper / "mine", "x")
    write(tree.upper / "lock", "", 0o600)
    write(tree.upper / "shadow", "user's", 0o600)
    tree.whiteout("gone")
    for path in (place, tree.target, tree.layer, *tree.layer.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)
    yield tree
    remove(place)


def as_user(work):
    return in_child(work, NOBODY)


def test_a_directory_that_cannot_be_read_is_said_and_the_rest_is_told(closed: Tree, capfd):
    assert as_user(lambda: main(["diff", "--layer", str(closed.layer)])) == 1
    out, err = capfd.readouterr()
    t = closed.target
    owner = f"owner 0:0 to {NOBODY}:{NOBODY}"
    assert out.splitlines() == [
        f"deleted  {t}/gone/",
        f"metadata {t}/lock  ({owner})",
        f"added    {t}/mine",
        f"metadata {t}/secret/  (mode 0700 to 0755, {owner})",
        f"added    {t}/secret/made",
        f"modified {t}/shadow  ({owner})",
    ]
    assert err.splitlines() == [
        f"viewos diff: {t}/{name}: can't be read; compared with nothing"
        for name in ("gone", "secret")
    ]


def test_a_commit_that_would_need_it_is_refused_as_a_whole(closed: Tree):
    def work():
        with pytest.raises(Refused) as caught:
            commit(closed.as_layer(), str(closed.target))
        commit(closed.as_layer(), str(closed.target), ["mine"])
        return dict(caught.value.reasons)

    reasons = as_user(work)
    assert reasons == {
        "gone": "it can't be read, and so not emptied",
        "secret": "only its owner can change its permissions",
        "secret/made": "its directory can't be read",
    }
    assert sorted(os.listdir(closed.target)) == ["gone", "lock", "mine", "secret", "shadow"]
    assert os.listdir(closed.target / "gone") == ["inner"]
