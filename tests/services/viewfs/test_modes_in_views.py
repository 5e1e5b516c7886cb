"""move, bind, ro, tmpfs, cow, mincow and merge in real views."""

from __future__ import annotations

import json
import os

import pytest

from helpers.waiting import until


def types(lines: list[str]) -> set[str]:
    return {line.split()[2] for line in lines}


def test_a_directory_shows_another(seat):
    assert seat.lines("--move", "b", "a", "ls a; cat a/other") == ["other", "other"]
    assert seat.lines("--bind", "b", "a", "echo new > a/new; ls b") == ["new", "other"]
    assert (seat.b / "new").read_text() == "new\n"


def test_a_file_replaces_a_file_of_somebody_else(seat):
    lines = seat.lines("--move", "b/other", "/etc/passwd", "cat /etc/passwd")
    assert lines == ["other"]


def test_a_file_and_a_directory_do_not_replace_each_other(seat):
    assert "can't replace each other" in seat.refused("--move", "b/other", "a")
    assert "can't replace each other" in seat.refused("--move", "b", "a/public")


def test_nothing_can_be_written_below_ro(seat):
    lines = seat.lines(
        "--ro",
        "a",
        "(echo x > a/public) 2>&1 | sed s/.*:.//; (rm a/sub/inner) 2>&1 | sed s/.*:.//; ls a",
    )
    assert lines == ["Read-only file system"] * 2 + ["public", "secret", "sub"]


def test_a_tmpfs_is_empty_and_has_the_permissions_of_what_it_hides(seat):
    seat.a.chmod(0o1710)
    script = "stat -c '%a %u' a; ls -A a; echo x > a/y; cat a/y"
    assert seat.lines("--tmpfs", "a", script) == [f"1710 {seat.user.uid}", "x"]
    assert not (seat.a / "y").exists()


CHANGES = (
    "rm a/secret; echo changed > a/public; rm -r a/sub; mkdir a/sub; mv b/other a/came; "
    "ln -s public a/link; chmod 600 a/public; "
    "ls a a/sub; cat a/public; stat -c %a a/public"
)


def test_changes_below_cow_are_seen_inside_and_nowhere_else(seat):
    lines = seat.lines("--cow", "a", CHANGES)
    assert lines == [
        "a:", "came", "link", "public", "sub", "", "a/sub:", "changed", "600",
    ]  # fmt: skip
    assert sorted(p.name for p in seat.a.iterdir()) == ["public", "secret", "sub"]
    assert (seat.a / "public").read_text() == "public\n"
    assert (seat.a / "sub" / "inner").read_text() == "inner\n"


def test_overlayfs_does_it_where_it_can(seat):
    (mount,) = seat.lines("--cow", "a", f"grep {seat.a} /proc/mounts")
    assert types([mount]) == {"overlay"}


def test_a_layer_that_nobody_named_goes_with_its_view(seat):
    lines = seat.lines("--cow", "a", "echo x > a/new; mkdir -m 0 a/closed; ls data/viewos/layers")
    assert len(lines) == 1
    assert lines[0].startswith("view-")
    until(lambda: not list(seat.layers.iterdir()))


def test_a_layer_with_a_name_stays_and_can_be_used_again(seat):
    assert seat.lines("--cow", "a=@kept", "rm a/secret; ls a") == ["public", "sub"]
    assert seat.lines("--cow", "a=@kept", "ls a") == ["public", "sub"]
    meta = json.loads((seat.layers / "kept" / "meta.json").read_text())
    assert (meta["target"], meta["owner"], meta["format"]) == (str(seat.a), seat.user.uid, 1)
    assert "lies over" in seat.refused("--cow", "b=@kept")


def test_a_layer_can_be_a_directory(seat):
    layer = seat.place / "home" / "layer"
    seat.own(layer)
    assert seat.lines("--cow", f"a={seat.place}/home/layer", "rm a/secret; ls a") == [
        "public",
        "sub",
    ]
    assert (seat.place / "home" / "layer" / "upper").is_dir()
    assert "is no layer, and holds other files" in seat.refused("--cow", f"a={seat.b}")


def test_layers_lie_on_one_another(seat):
    seat.lines("--cow", "a=@lower", "rm a/secret; echo lower > a/public")
    assert seat.lines("--cow", "a=@upper:@lower", "ls a; cat a/public; echo top > a/new") == [
        "public", "sub", "lower",
    ]  # fmt: skip
    assert seat.lines("--cow", "a=@upper:@lower", "ls a") == ["new", "public", "sub"]
    assert seat.lines("--cow", "a=@lower", "ls a") == ["public", "sub"]
    stacked = f"viewfs,cow,layer=@upper:{seat.b}"
    assert "is no layer" in seat.refused("--mount", stacked, "none", "a")


def test_one_view_at_a_time_has_a_layer(seat):
    lines = seat.lines("--cow", "a=@kept", "viewmount -t viewfs -o cow,layer=kept none a 2>&1")
    assert len(lines) == 1
    assert "in use" in lines[0] or "busy" in lines[0]


def test_what_belongs_to_others_can_be_changed_below_cow(seat):
    lines = seat.lines(
        "--cow",
        "foreign",
        "cat foreign/f; echo mine > foreign/f; cat foreign/f; rm foreign/f; ls -A foreign",
    )
    assert lines == ["foreign", "mine"]
    assert (seat.foreign / "f").read_text() == "foreign\n"


def test_mincow_writes_for_real_where_it_may_and_to_the_layer_elsewhere(seat):
    options = ("--mount", "viewfs,mincow", "none")
    assert seat.lines(*options, "a", "echo real > a/public; cat a/public") == ["real"]
    assert (seat.a / "public").read_text() == "real\n"
    if seat.user.uid:
        lines = seat.lines(*options, "foreign", "echo mine > foreign/f; cat foreign/f")
        assert lines == ["mine"]
        assert (seat.foreign / "f").read_text() == "foreign\n"


def test_merge_shows_both_and_the_source_is_read_only(seat):
    lines = seat.lines(
        "--mount", "viewfs,merge", "b", "a",
        "ls a; (echo x > a/other) 2>&1 | sed s/.*:.//; echo new > a/new; cat a/new",
    )  # fmt: skip
    assert lines == ["other", "public", "secret", "sub", "Read-only file system", "new"]
    assert (seat.a / "new").read_text() == "new\n"
    assert (seat.b / "other").read_text() == "other\n"


def test_the_original_shows_through_at_an_exception(seat):
    for mode in ("cow", "mincow", "ro"):
        lines = seat.lines(
            "--mount",
            f"viewfs,{mode},except=/sub",
            "none",
            "a",
            "echo through > a/sub/new; cat a/sub/inner",
        )
        assert lines == ["inner"]
        assert (seat.a / "sub" / "new").read_text() == "through\n"
    assert seat.lines("--mount", "viewfs,tmpfs,except=/sub", "none", "a", "ls a a/sub") == [
        "a:", "sub", "", "a/sub:", "inner", "new",
    ]  # fmt: skip
    assert "it is not there" in seat.refused("--mount", "viewfs,cow,except=/none", "none", "a")


def test_renew_brings_a_mount_to_the_top_again(seat):
    lines = seat.lines(
        "--move", "b", "a", "--tmpfs", "a", "--mount", "viewfs,renew", str(seat.b), "a", "ls a"
    )
    assert lines == ["other"]
    assert "nothing of viewfs is mounted" in seat.refused("--mount", "viewfs,renew", "none", "b")


def test_a_permanent_mount_stays(seat):
    lines = seat.lines(
        "--mount", "viewfs,tmpfs,permanent", "none", "a", "viewumount a 2>&1; ls -A a"
    )
    assert len(lines) == 1
    assert "busy" in lines[0].lower() or "permanent" in lines[0]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("viewfs,cow", "nothing", "a"), "there is no nothing"),
        (("viewfs,move", "none", "a"), "no source was named"),
        (("viewfs,cow,merge", "b", "a"), "exclude each other"),
        (("viewfs,cow", "none", "a/public"), "is no directory"),
        (("viewfs,cow", "b/other", "a"), "is no directory"),
        (("viewfs,colour=red", "b", "a"), "no such option: colour=red"),
    ],
)
def test_what_can_not_be_is_said_in_one_line(seat, words, why):
    assert why in seat.refused("--mount", *words)


def test_a_layer_that_contains_its_target_is_a_loop(seat):
    assert "contains the target" in seat.refused("--cow", f"a/sub={seat.a}")


def test_a_layer_inside_its_target_is_not_seen_there(seat):
    layer = seat.own(seat.place / "home" / "layer")
    lines = seat.lines(
        "--cow", f"{seat.place}={layer}", "ls -A home/layer; echo x > home/new; ls home"
    )
    assert lines == ["layer", "new"]
    assert os.listdir(seat.place / "home") == ["layer"]


def test_a_whole_system_can_be_changed_and_stays_as_it_is(seat):
    lines = seat.lines(
        "--cow", "/",
        "rm -rf /usr/share/doc 2>/dev/null; ls /usr/share/doc 2>/dev/null; echo x > /etc/viewfs-test; "
        "cat /etc/viewfs-test; viewname; test -d /proc/self && test -c /dev/null && echo ok; pwd",
    )  # fmt: skip
    assert [line for line in lines if line] == ["x", "ok", str(seat.place)]
    assert os.path.isdir("/usr/share/doc")
    assert not os.path.exists("/etc/viewfs-test")


def test_a_branch_starts_in_what_was_mounted_on_its_directory(seat):
    inner = " ".join([*seat.user.viewos_run, "--no-rc"])
    for mount in ("--cow .", "--cow /"):
        script = f"cd a; {inner} {mount} -- sh -c 'echo x > new; ls; pwd'; ls"
        assert seat.lines("-p", "viewfs", script) == [
            "new", "public", "secret", "sub", str(seat.a), "public", "secret", "sub",
        ]  # fmt: skip
