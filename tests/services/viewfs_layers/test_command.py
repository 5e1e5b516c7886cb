"""python -m viewos_viewfs.layers: output and exit status, to the letter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.layer import Tree, listing, write
from viewos_viewfs.layers.changes import as_line
from viewos_viewfs.layers.patch import _hunks
from viewos_viewfs.layers.store import Part, by_part, directory


def command(*words: str | Path, **options) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-P", "-m", "viewos_viewfs.layers", *map(str, words)]
    defaults = {"capture_output": True, "text": True, "timeout": 100, "cwd": "/", "check": False}
    return subprocess.run(line, **(defaults | options))


def ok(*words: str | Path, status: int = 0, **options) -> str:
    done = command(*words, **options)
    assert (done.returncode, done.stderr) == (status, "")
    return done.stdout


@pytest.fixture
def changed(tree: Tree) -> Tree:
    write(tree.target / "mod", "one\ntwo\nthree\n")
    write(tree.target / "gone", "x\n")
    write(tree.target / "d/f", "x")
    (tree.target / "was").mkdir()
    tree.later()
    write(tree.upper / "mod", "one\n2\nthree\n", 0o755)
    write(tree.upper / "new", "x\n")
    (tree.upper / "same").hardlink_to(tree.upper / "new")
    write(tree.upper / "was")
    tree.whiteout("gone")
    tree.whiteout("d")
    return tree


def test_a_diff_is_a_line_a_change_and_status_1(changed: Tree):
    t = changed.target
    assert ok("diff", "--layer", changed.layer, status=1).splitlines() == [
        f"deleted  {t}/d/",
        f"deleted  {t}/d/f",
        f"deleted  {t}/gone",
        f"modified {t}/mod  (mode 0644 to 0755)",
        f"added    {t}/new",
        f"added    {t}/same  (same file as {t}/new)",
        f"type     {t}/was  (directory to file)",
    ]


def test_a_diff_of_paths_shows_what_is_below_them(changed: Tree):
    said = ok("diff", "--layer", changed.layer, "d", "new", status=1, cwd=changed.target)
    assert [line.split()[1] for line in said.splitlines()] == [
        f"{changed.target}/{path}" for path in ("d/", "d/f", "new")
    ]


def test_no_change_is_no_line_and_status_0(tree: Tree):
    assert ok("diff", "--layer", tree.layer) == ""
    assert json.loads(ok("diff", "--json", "--layer", tree.layer)) == []


def test_json_is_one_document(changed: Tree):
    os.mkdir(os.fsencode(changed.upper) + b"/\xff")
    rows = json.loads(ok("diff", "--json", "--layer", changed.layer, status=1))
    assert rows[3] == {
        "kind": "modified", "path": f"{changed.target}/mod", "type": "file",
        "details": ["mode 0644 to 0755"],
    }  # fmt: skip
    assert rows[6]["was"] == "directory"
    assert os.fsencode(rows[-1]["path"]).endswith(b"/\xff")


@pytest.mark.parametrize("tool", ["git", "patch"])
def test_a_patch_makes_of_the_target_what_the_view_showed(changed: Tree, tmp_path: Path, tool):
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")
    (changed.upper / "was").unlink()
    (changed.upper / "was").mkdir()
    write(changed.upper / "no newline", "a\nb")
    write(
        changed.upper / "deep/empty" if tool == "git" else changed.upper / "deep/f",
        "" if tool == "git" else "x",
    )
    write(changed.target / "gone too", "a")
    changed.whiteout("gone too")
    (changed.upper / "link").symlink_to("somewhere")
    text = ok("diff", "--patch", "--layer", changed.layer, status=1)
    words = {"git": ["git", "apply", "-"], "patch": ["patch", "-s", "-p1"]}[tool]
    subprocess.run(words, cwd=changed.target, input=text, text=True, check=True)
    (changed.target / "d").rmdir() if (changed.target / "d").exists() else None
    assert changed.told() == {"same": "modified"}


def test_a_patch_says_of_binary_files_that_they_differ(tree: Tree):
    (tree.upper / "b").write_bytes(b"\0")
    assert ok("diff", "--patch", "--layer", tree.layer, status=1).splitlines() == [
        "diff --git a/b b/b", "new file mode 100644", "Binary files /dev/null and b/b differ",
    ]  # fmt: skip


LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\r\n", b"d\re\n"]), max_size=30)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=200)
@given(LINES, LINES, st.booleans())
def test_hunks_make_the_new_version_of_the_old_one(old, new, cut):
    if cut and new:
        new[-1] = new[-1].rstrip(b"\n")
    made, at = [], 0
    text = b"".join(_hunks(b"".join(old), b"".join(new)))
    for line in text.split(b"\n")[:-1]:
        if line.startswith(b"@@ -"):
            start, _, count = line[4:].split(b" ")[0].partition(b",")
            begin = int(start) - (int(count) > 0)
            made += old[at:begin]
            at = begin
        elif line.startswith(b"\\"):
            made[-1] = made[-1][:-1]
        elif line[:1] == b"+":
            made.append(line[1:] + b"\n")
        else:
            assert old[at] == line[1:] + b"\n"
            made += [old[at]] if line[:1] == b" " else []
            at += 1
    assert b"".join([*made, *old[at:]]) == b"".join(new)


def test_a_commit_says_how_much_and_a_refused_one_why(changed: Tree):
    changed.later()
    write(changed.target / "gone", "outside")
    done = command("commit", "--layer", changed.layer)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"viewos commit: {changed.target}/gone: was changed outside since",
        "viewos commit: nothing was committed; --force overwrites what was changed outside",
    ]
    assert ok("commit", "--force", "--layer", changed.layer) == "7 changes committed\n"
    assert ok("commit", "--layer", changed.layer) == "0 changes committed\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["diff"], "there is no copy-on-write layer here; --cow PATH makes one"),
        (["diff", "--layer", "/nonexistent"], "/nonexistent is no layer: there is no directory upper in it"),
        (["diff", "--layer", "@a/b"], "@a/b: a layer's name is one word, without slash and colon"),
        (["commit", "--layer", "LAYER", "/etc"], "/etc lies in no copy-on-write layer"),
        (["commit", "--layer", "LAYER", "TARGET/nosuch"], "nothing has changed at nosuch"),
        (["discard", "--layer", "LAYER", "TARGET/new"],
         "a layer is discarded whole; delete a file in the view to be rid of it"),
    ],
)  # fmt: skip
def test_trouble_is_one_line_and_status_2(changed: Tree, words, line):
    def named(text):
        return text.replace("LAYER", str(changed.layer)).replace("TARGET", str(changed.target))

    done = command(*map(named, words))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"viewos {words[0]}: {named(line)}\n"


def test_a_target_that_is_gone_is_named(changed: Tree):
    done = command("diff", "--layer", changed.layer, "--target", "/nonexistent/t")
    assert done.stderr == "viewos diff: /nonexistent/t: No such file or directory\n"


def test_layers_that_have_a_name_are_listed_and_discarded(changed: Tree, tmp_path: Path):
    env = os.environ | {"XDG_DATA_HOME": str(tmp_path / "data"), "TZ": "UTC"}
    assert ok("layers", env=env) == ""
    place = tmp_path / "data/viewos/layers/work"
    place.parent.mkdir(parents=True)
    changed.layer.rename(place)
    (row,) = json.loads(ok("layers", "--json", env=env))
    assert (row["name"], row["target"], row["mounted"]) == ("@work", str(changed.target), False)
    assert ok("diff", "--layer", "@work", status=1, env=env).count("\n") == 7
    assert ok("discard", "--layer", "@work", env=env) == ""
    assert ok("layers", env=env) == ""


def test_layers_that_have_a_name_are_in_the_users_data(monkeypatch):
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert directory() == "/home/u/.local/share/viewos/layers"


def test_paths_go_to_the_part_that_they_are_in():
    parts = [Part("/l", ""), Part("/l/mounts/a%2Fb", "a/b"), Part("/l/mounts/c", "c")]
    found = by_part(parts, ["x", "a/b/y", "a", "c"])
    assert [(part.below, paths) for part, paths in found] == [
        ("", ["x", "a"]), ("a/b", ["y", ""]), ("c", [""]),
    ]  # fmt: skip


@pytest.mark.root
def test_a_file_system_that_is_mounted_below_has_a_part_of_its_own(tree: Tree):
    write(tree.target / "m/keep")
    upper = tree.part(tree.layer / "mounts/m", tree.target / "m")
    write(upper / "new", "x")
    write(tree.upper / "top", "x")
    gone = command("commit", "--layer", tree.layer)
    assert f"{tree.target}/m was a mount point when the layer was made, and is none" in gone.stderr
    line = 'mount --bind "$1" "$1" && shift && exec "$@"'
    words = [sys.executable, "-P", "-m", "viewos_viewfs.layers", "commit", "--layer", tree.layer]
    inside = ["unshare", "-m", "--propagation", "private", "sh", "-c", line, "-", tree.target / "m"]
    subprocess.run([*inside, *words], check=True)
    assert listing(tree.target) == {"m": "drwxr-xr-x", "m/keep": "", "m/new": "x", "top": "x"}


def test_a_name_cannot_steer_the_terminal(tree: Tree):
    write(tree.upper / "\x1b[2J")
    (change,) = tree.changes()
    assert as_line(change, "/t") == "added    /t/?[2J"
