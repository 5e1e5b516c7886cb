"""Names that are no text, paths as long as they may be, pointers that lead nowhere."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("flags", [(), ("-m32",)], ids=" ".join)
def test_pointers_at_the_edges_of_memory(agree, program, flags):
    outcome = agree(program("pointers", *flags))
    assert outcome.status == 0
    end = outcome.lines.index("-- across the end")
    assert outcome.lines[end + 1] == "open: EFAULT"
    assert "-- 4096 slashes" in outcome.lines
    assert outcome.lines[outcome.lines.index("-- 4096 slashes") + 1] == "open: ENAMETOOLONG"


def test_names_that_are_no_utf_8(agree, told):
    seen = told(
        agree.python("""
names = [bytes(range(1, 47)), bytes(range(48, 250)), b"\\xff\\xfe", b"new\\nline", b" ", b"-", b"a\\x80\\\\b", "ä€😀".encode()]
for i, name in enumerate(names):
    with open(name, "wb") as f: f.write(name)
    os.mkdir(name + b".d"); os.symlink(name, name[:100] + b".l"); os.rename(name, name[:100] + b".r"); os.link(name[:100] + b".r", name)
    show(f"{i}", lambda: (os.readlink(name[:100] + b".l") == name, open(name, "rb").read() == name, os.stat(name[:100] + b".l").st_size))
    os.chdir(name + b".d"); show(f"cwd {i}", lambda: os.getcwdb().endswith(name + b".d")); open("in", "w").close(); os.chdir("..")
print("all ->", sorted(os.listdir(b".")) == sorted(n[:100] + s for n in names for s in (b".l", b".r")) + [], len(os.listdir(b".")))
""")
    )
    assert seen["0"].startswith("(True, True")


def test_a_directory_deeper_than_any_path(agree, told):
    seen = told(
        agree.python("""
top = os.open(".", os.O_RDONLY); name = "d" * 200
for _ in range(30): os.mkdir(name); os.chdir(name)
show("getcwd", lambda: len(os.getcwd()) > 4096)
with open("deep", "w") as f: f.write("x")
show("stat", lambda: os.stat("deep").st_size); show("rename", os.rename, "deep", "deeper"); show("mkdir", os.mkdir, "sub")
show_open("up", "../" * 25 + "."); show("absolute link", os.symlink, "/etc/passwd", "link"); show_open("through it", "link")
show_open("up and down", "../" + name + "/deeper")
os.unlink("deeper"); os.unlink("link"); os.rmdir("sub")
for _ in range(30): os.chdir(".."); os.rmdir(name)
""")
    )
    assert (seen["stat"], seen["rename"], seen["mkdir"]) == ("1", "None", "None")
