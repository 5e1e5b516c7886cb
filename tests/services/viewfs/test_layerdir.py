"""The directory of a layer: taken, shared, kept, removed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from viewos_viewfs.layerdir import LayerDir, escaped, fresh, kept

READ = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Paths:
    """Opens paths as a view whose root is ours."""

    def open(self, path: bytes, flags: int) -> int:
        return os.open(path, flags | os.O_CLOEXEC)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target"
    path.mkdir(mode=0o750)
    path.chmod(0o1750)
    return path


@pytest.fixture
def layer(tmp_path):
    path = tmp_path / "layer"
    path.mkdir()
    return path


def take(layer: Path, target: Path, **options) -> LayerDir:
    return LayerDir.take(os.open(layer, READ), bytes(target), os.stat(target), **options)


async def test_an_empty_directory_becomes_a_layer_of_its_target(layer, target):
    taken = take(layer, target)
    assert sorted(p.name for p in layer.iterdir()) == ["lock", "meta.json", "upper", "work"]
    meta = json.loads((layer / "meta.json").read_text())
    assert (meta["target"], meta["owner"], meta["format"]) == (str(target), os.geteuid(), 1)
    assert (layer / "upper").stat().st_mode == target.stat().st_mode
    await taken.release()
    again = take(layer, target)
    assert json.loads((layer / "meta.json").read_text()) == meta
    await again.release()


async def test_one_at_a_time_has_it_and_a_branch_shares_it(layer, target):
    taken = take(layer, target)
    with pytest.raises(OSError, match="is in use") as caught:
        take(layer, target)
    assert caught.value.errno == errno.EBUSY
    shared = LayerDir.again(os.open(layer, READ), unnamed=False)
    assert shared is taken
    await shared.release()
    with pytest.raises(OSError, match="is in use"):
        take(layer, target)
    await taken.release()
    await take(layer, target).release()


async def test_it_lies_over_one_target(layer, target, tmp_path):
    await take(layer, target).release()
    with pytest.raises(OSError, match=f"lies over {target}") as caught:
        take(layer, tmp_path)
    assert caught.value.errno == errno.EINVAL
    await take(layer, target).release()


async def test_a_directory_with_other_files_is_no_layer(layer, target):
    (layer / "precious").touch()
    with pytest.raises(OSError, match="holds other files") as caught:
        take(layer, target)
    assert caught.value.errno == errno.ENOTEMPTY


async def test_an_unnamed_one_goes_whatever_is_in_it(layer, target):
    taken = take(layer, target, unnamed=True)
    closed = layer / "upper" / "closed"
    (closed / "deep").mkdir(parents=True)
    (closed / "file").touch()
    os.symlink("/etc", closed / "link")
    closed.chmod(0)
    (layer / "work" / "work").mkdir(mode=0)
    taken.users += 1
    await taken.release()
    assert layer.exists()
    await taken.release()
    assert not layer.exists()
    assert Path("/etc").exists()


async def test_what_is_mounted_below_has_parts_of_its_own(layer, target):
    taken = take(layer, target)
    for fd in taken.part(b"home/a b", os.stat(target)):
        os.close(fd)
    assert escaped(b"home/a b") == "home%2Fa%20b"
    assert (layer / "mounts" / "home%2Fa%20b" / "upper").is_dir()
    assert (layer / "mounts" / "home%2Fa%20b" / "work").is_dir()
    await taken.release()


def test_kept_layers_and_fresh_ones_lie_in_the_users_data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for fd in (kept(Paths(), "mine"), fresh(Paths(), "k"), fresh(Paths(), "k")):
        os.close(fd)
    names = sorted(p.name for p in (tmp_path / "data" / "viewos" / "layers").iterdir())
    assert names[0] == "mine"
    assert len(names) == 3
    assert all(name.startswith("view-") for name in names[1:])
