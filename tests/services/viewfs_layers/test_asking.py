"""What a client asks of a view's layers becomes a command line, or is refused."""

from __future__ import annotations

import pytest

from viewos_viewfs import ViewFs
from viewos_viewfs.layers.asking import work
from viewosd.errors import ServiceError


def test_a_command_names_every_layer_and_what_it_lies_over():
    layers = [(b"/l", b"/t"), (b"/m", b"/u")]
    words = work("diff", {"json": True, "patch": False, "paths": [b"/t/-x"]}, layers).argv[4:]
    assert words == (
        "diff", "--json", "--on", "/l", "/t", "--on", "/m", "/u", "--mounted", "--", "/t/-x",
    )  # fmt: skip


def test_a_layer_that_is_named_is_meant_alone():
    asked = {"layer": b"@work", "target": b"/t", "force": True}
    words = work("commit", asked, [(b"/l", b"/t")]).argv[4:]
    assert words == ("commit", "--force", "--layer=@work", "--target=/t", "--")


@pytest.mark.parametrize(
    ("what", "arguments", "line"),
    [
        ("nosuch", {}, "viewfs has no command nosuch"),
        ("diff", {"force": True}, "diff has no option force"),
        ("commit", {"paths": ["text"]}, "commit: paths is a list of paths"),
        ("commit", {"layer": "text"}, "commit: layer and target are paths"),
        ("commit", {"paths": [b"\0"]}, "commit: paths is a list of paths"),
    ],
)
def test_anything_else_is_refused_in_one_line(what, arguments, line):
    with pytest.raises(ServiceError) as caught:
        work(what, arguments, [])
    assert str(caught.value) == line


async def test_the_service_answers_with_the_command():
    assert (await ViewFs().ask("discard", {}, 0)).argv[-2:] == ("--mounted", "--")
