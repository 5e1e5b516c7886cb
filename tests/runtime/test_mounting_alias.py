"""Other names of mount types, which may be names of names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from viewosd.runtime.mounting.mounter import Mounter
from viewosd.service import Service


class Box(Service):
    """Offers a type."""

    name = "box"
    mounts = ("box",)


@pytest.fixture
def mounter() -> Mounter:
    view: Any = SimpleNamespace(services=[SimpleNamespace(service=Box())])
    return Mounter(view, cast(Any, SimpleNamespace(ordinary=False)), cast(Any, None))


def test_an_alias_of_an_alias_is_the_services_type(mounter: Mounter):
    mounter.alias("crate", "box")
    mounter.alias("case", "crate")
    assert mounter.real("case") == "box"
    assert mounter.offering("case") is mounter.offering("box") is not None
    assert mounter.offering("nosuch") is None


def test_an_alias_without_a_type_is_forgotten(mounter: Mounter):
    mounter.alias("crate", "box")
    mounter.alias("crate", "")
    mounter.alias("never", "")
    assert mounter.real("crate") == "crate"


def test_no_alias_stands_for_itself_by_way_of_others(mounter: Mounter):
    mounter.alias("a", "box")
    mounter.alias("c", "a")
    for name, type in (("a", "c"), ("a", "a"), ("box", "c")):
        with pytest.raises(OSError, match=f"{type} stands for {name}"):
            mounter.alias(name, type)
    assert mounter.real("c") == "box"
