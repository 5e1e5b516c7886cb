"""A view: its services in search order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from viewosd.abi.arch import NATIVE
from viewosd.core.view import Loaded, View
from viewosd.errors import ServiceError
from viewosd.service import Service, hook
from viewosd.syscalls.numbers import number_of
from viewosd.syscalls.process import getppid
from viewosd.verdict import Return


def loaded(name: str, permanent: bool = False) -> Loaded:
    class One(Service):
        @hook(getppid)
        def answer(self, call: Any, tracee: Any) -> Return:
            return Return(1)

    One.name = name
    return Loaded(One(), f"{name},option", permanent)


def order(view: View) -> list[str]:
    """Who is asked, by the table."""
    route = view.routes[NATIVE].get(number_of(getppid, NATIVE) or -1)
    return [handler.service.name for handler in route.handlers] if route else []


def view_of(*names: str) -> View:
    view = View(0, "", 0.0)
    for name in names:
        view.insert(loaded(name))
    return view


def test_services_are_asked_in_the_order_in_which_they_were_loaded() -> None:
    assert order(view_of("a", "b", "c")) == ["a", "b", "c"]


def test_a_service_is_loaded_once() -> None:
    with pytest.raises(ServiceError, match="service a is already loaded"):
        view_of("a").insert(loaded("a"))


def test_a_permanent_service_stays() -> None:
    view = View(0, "", 0.0)
    view.insert(loaded("a", permanent=True))
    with pytest.raises(ServiceError, match="service a is permanent"):
        view.remove("a")
    assert order(view) == ["a"]


def test_what_is_not_loaded_cant_be_removed_moved_or_found() -> None:
    view = view_of("a")
    for act in (lambda: view.remove("b"), lambda: view.move("b", 0), lambda: view.find("b")):
        with pytest.raises(ServiceError, match="service b is not loaded"):
            act()


@pytest.mark.parametrize("position", [-1, 2, 99])
def test_there_are_as_many_positions_as_services(position: int) -> None:
    view = view_of("a", "b")
    with pytest.raises(ServiceError, match=r"\(0 to 1\)"):
        view.move("a", position)
    assert order(view) == ["a", "b"]


def test_a_branch_begins_with_its_parents_services_and_goes_its_own_way() -> None:
    parent = view_of("a", "b")
    branch = View(1, "", 0.0, parent=parent)
    assert (branch.depth, parent.depth) == (1, 0)
    branch.remove("a")
    parent.insert(loaded("c"))
    assert order(branch) == ["b"]
    assert order(parent) == ["a", "b", "c"]
    assert branch.find("b").service is parent.find("b").service
    assert branch.stats is not parent.stats


def test_its_hooks_are_those_of_all_its_services() -> None:
    assert [spec.call for spec in view_of("a", "b").specs()] == [getppid, getppid]


class ServicesComeAndGo(RuleBasedStateMachine):
    """The table always says what the list says, whatever clients ask for."""

    names = st.sampled_from("abcd")

    def __init__(self) -> None:
        super().__init__()
        self.view, self.model = View(0, "", 0.0), []

    @rule(name=names, position=st.none() | st.integers(0, 4))
    def insert(self, name: str, position: int | None) -> None:
        if name in self.model:
            with pytest.raises(ServiceError):
                self.view.insert(loaded(name), position)
        else:
            self.view.insert(loaded(name), position)
            self.model.insert(len(self.model) if position is None else position, name)

    @rule(name=names)
    def remove(self, name: str) -> None:
        if name in self.model:
            assert self.view.remove(name).name == name
            self.model.remove(name)
        else:
            with pytest.raises(ServiceError):
                self.view.remove(name)

    @rule(name=names, position=st.integers(-1, 4))
    def move(self, name: str, position: int) -> None:
        if name in self.model and 0 <= position < len(self.model):
            self.view.move(name, position)
            self.model.remove(name)
            self.model.insert(position, name)
        else:
            with pytest.raises(ServiceError):
                self.view.move(name, position)

    @invariant()
    def table_and_list_agree(self) -> None:
        assert order(self.view) == self.model == [s.name for s in self.view.services]


TestServicesComeAndGo = ServicesComeAndGo.TestCase
