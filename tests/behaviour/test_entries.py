"""mkdir, mknod, symlink, link, rename, unlink, rmdir: every pairing of kinds, and each error."""

from __future__ import annotations

SETUP = """
def fresh():
    import shutil
    os.chdir(top); shutil.rmtree("w", ignore_errors=True); os.mkdir("w"); os.chdir("w")
    open("file", "w").write("f"); open("other", "w").write("o"); os.mkdir("dir"); os.mkdir("empty")
    open("dir/in", "w").close(); os.symlink("file", "link"); os.symlink("dir", "dirlink")
    os.symlink("missing", "dangling"); os.symlink("loop", "loop"); os.mkfifo("fifo")
def tree():
    return sorted((n, oct(os.lstat(n).st_mode), os.lstat(n).st_nlink) for n in os.listdir("."))
top = os.getcwd()
names = ("file", "other", "dir", "empty", "link", "dirlink", "dangling", "loop", "fifo", "missing", "new",
         "dir/in", "dir/in/x", "missing/x", "file/", "dir/", "dirlink/", "new/", ".", "..", "dir/.", "dir/..",
         "/", "", "n" * 256, "/proc/self/x", "/proc/x")
"""


def test_each_name_made_and_removed(agree, told):
    outcome = agree.python(
        SETUP
        + """
for name in names:
    for what, action in {
        "mkdir": lambda: os.mkdir(name), "mkfifo": lambda: os.mkfifo(name), "symlink": lambda: os.symlink("x", name),
        "mknod": lambda: os.mknod(name, 0o644 | stat.S_IFREG), "unlink": lambda: os.unlink(name),
        "rmdir": lambda: os.rmdir(name), "socket": lambda: os.mknod(name, 0o755 | stat.S_IFSOCK),
        "mknod dir": lambda: os.mknod(name, stat.S_IFDIR), "mknod 0": lambda: os.mknod(name, 0o600),
        "char": lambda: os.mknod(name, 0o600 | stat.S_IFCHR, os.makedev(1, 3)),
        "whiteout": lambda: os.mknod(name, stat.S_IFCHR, 0), "empty": lambda: os.symlink("", name),
    }.items():
        fresh(); show(f"{what} {name[:20]}", action); os.chdir(top + "/w"); print(tree())
"""
    )
    seen = told(outcome)
    assert (seen["mkdir file"], seen["rmdir dir"], seen["unlink dir"]) == (
        "EEXIST",
        "ENOTEMPTY",
        "EISDIR",
    )


def test_each_pair_renamed_linked_and_exchanged(agree, told):
    outcome = agree.python(
        SETUP
        + """
def renameat2(old, new, flags):
    return code(libc.syscall(316, -100, os.fsencode(old), -100, os.fsencode(new), flags))
fresh()
some = ("file", "other", "dir", "empty", "link", "dangling", "fifo", "new", "dir/in", "file/", "dir/", "dir/..", "missing/x")
for old in some:
    for new in some:
        for what, action in {
            "rename": lambda: os.rename(old, new), "link": lambda: os.link(old, new),
            "noreplace": lambda: renameat2(old, new, 1), "exchange": lambda: renameat2(old, new, 2),
        }.items():
            if show(f"{what} {old} {new}", action) in (None, 0): print(tree()); fresh()
print("both ->", renameat2("file", "new", 3)); print("unknown ->", renameat2("file", "new", 8))
show("follow", os.link, "link", "hard", follow_symlinks=True); print(tree())
show("itself into itself", os.rename, "dir", "dir/sub")
"""
    )
    seen = told(outcome)
    assert (seen["rename file dir"], seen["rename dir file"]) == ("EISDIR", "ENOTDIR")
    assert (seen["link dir new"], seen["noreplace file other"]) == ("EPERM", "EEXIST")


def test_a_file_stays_on_its_file_system(agree, told):
    seen = told(
        agree.python("""
open("file", "w").close()
show("across", os.rename, "file", "/dev/shm/viewos-never-made")
show("link across", os.link, "file", "/dev/shm/viewos-never-made")
show("to proc", os.rename, "file", "/proc/self/x"); show("from proc", os.rename, "/proc/self/comm", "x")
""")
    )
    assert seen["across"] == seen["link across"] == "EXDEV"
