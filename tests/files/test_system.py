"""The whole system to play with: what is installed, or removed, in ``--cow /`` is so there alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers.grounds import Ground

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not all(map(shutil.which, ("dpkg-deb", "dpkg", "unshare"))), reason="needs dpkg, util-linux"
    ),
]
NAME = "viewos-test-greeter"
FILES = {
    f"usr/bin/{NAME}": "#!/bin/sh\ncat /var/lib/NAME/state\n",
    f"usr/share/doc/{NAME}/copyright": "none\n",
    f"etc/{NAME}.conf": "greeting=hello\n",
    "DEBIAN/conffiles": "/etc/NAME.conf\n",
    "DEBIAN/control": (
        "Package: NAME\nVersion: 1\nArchitecture: all\nMaintainer: n <n@example.org>\n"
        "Description: says hello\n"
    ),
    "DEBIAN/preinst": "#!/bin/sh\nmkdir -p /var/lib/NAME\n",
    "DEBIAN/postinst": "#!/bin/sh\n. /etc/NAME.conf\necho $greeting > /var/lib/NAME/state\n",
    "DEBIAN/postrm": "#!/bin/sh\nrm -rf /var/lib/NAME\n",
}
ADDED = {
    f"/{path}" for path in FILES if not path.startswith("DEBIAN")
} | {
    f"/usr/share/doc/{NAME}", f"/var/lib/{NAME}", f"/var/lib/{NAME}/state",
    *(f"/var/lib/dpkg/info/{NAME}.{end}"
      for end in ("conffiles", "list", "md5sums", "postinst", "postrm", "preinst")),
}  # fmt: skip
DATABASE = "/var/lib/dpkg/status"


@pytest.fixture
def package(ground: Ground) -> Path:
    top = ground.work / "package"
    for name, text in FILES.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("NAME", NAME))
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    made = ground.work / f"{NAME}_1_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", top, made],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return made


def rows(text: str) -> dict[str, str]:
    return {row["path"]: row["kind"] for row in json.loads(text)}


WAYS = {
    "dpkg": 'dpkg --force-confold -i "$1"',
    "apt-get": 'apt-get -qq -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 install "$1"',
}


@pytest.mark.parametrize("program", WAYS)
def test_what_is_installed_in_a_view_is_told_and_is_nowhere_else(ground, package, program):
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    become = ["unshare", "-r"] if ground.user.uid else []
    ground.environment["DEBIAN_FRONTEND"] = "noninteractive"
    ground.environment["PATH"] += ":/usr/sbin:/sbin"
    script = f"({WAYS[program]}) >&2; {NAME}; viewos diff --json || [ $? = 1 ]"
    done = ground.run("--cow", "/", "--", *become, "sh", "-ec", script, "sh", package)
    assert done.returncode == 0, done.stderr[-3000:]
    said, _, told = done.stdout.partition("\n")
    assert said == "hello"
    found = rows(told)
    assert {path for path, kind in found.items() if kind == "added"} >= ADDED
    assert found[DATABASE] == "modified"
    assert not [path for path in ADDED if os.path.lexists(path)]
    assert NAME not in Path(DATABASE).read_text()
    places = ("/etc/", "/usr/", "/var/", "/run/")
    assert not [path for path in found if not path.startswith(places)]


def test_what_is_removed_in_a_view_is_there_for_everybody_else(ground):
    """As an ordinary user, too, who may remove nothing of it outside."""
    removed = ["/usr/lib/dpkg", "/etc/default", "/usr/share/base-files", "/bin/sh", "/usr/bin/rm"]
    there = [path for path in removed if os.path.lexists(path)]
    inside = [sorted(os.listdir(path)) for path in removed if os.path.isdir(path)]
    script = """
    rm -rf "$@"
    ls -d "$@" 2>/dev/null || true
    mkdir /usr/lib/dpkg; echo new > /usr/lib/dpkg/new; echo /usr/lib/dpkg/*
    """
    done = ground.run("--cow", "/", "--", "sh", "-ec", script, "sh", *removed)
    assert (done.stdout, done.stderr) == ("/usr/lib/dpkg/new\n", "")
    assert [path for path in removed if os.path.lexists(path)] == there
    assert [sorted(os.listdir(path)) for path in removed if os.path.isdir(path)] == inside
