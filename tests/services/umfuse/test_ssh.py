"""A directory of another machine by sshfs: that machine is a server of the test's, without a network.

sftp-server is enough of one; sshd is all of it, told by ssh's own ProxyCommand to talk through a pipe.
"""

from __future__ import annotations

import os

import pytest

from helpers.puppets import Puppet, Stage
from helpers.waiting import until

from .conftest import Place, look, mount, mounts, need, umount

SFTP = "/usr/lib/openssh/sftp-server"
# Root's wants a directory that only the system's own start makes.
SSHD = """#!/bin/sh
[ $(id -u) != 0 ] || [ -d /run/sshd ] || exec unshare -m --propagation private sh -c '
    mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -i -f {config}'
exec /usr/sbin/sshd -i -f {config}
"""


@pytest.fixture(autouse=True)
def there(place: Place) -> None:
    """Newer ones of sshfs follow no link that leads up."""
    (place.content / "sub" / "link").unlink()
    (place.content / "sub" / "link").symlink_to("script")
    place.own()


def sftp(place: Place) -> str:
    """The options with which sshfs speaks to sftp-server."""
    need("sshfs")
    if not os.access(SFTP, os.X_OK):
        pytest.skip(f"not installed: {SFTP}")
    script = place.path / "ssh"
    script.write_text(f"#!/bin/sh\necho $$ > {place.path}/pid\nexec {SFTP}\n")
    script.chmod(0o755)
    place.own()
    return f"ssh_command={script}"


def sshd(place: Place) -> str:
    """The options with which sshfs speaks to an sshd of the user's."""
    need("sshfs", "ssh", "sshd", "ssh-keygen")
    if place.stage.user.prefix and place.stage.user.uid:
        pytest.skip("the account of nobody is locked on many machines")
    for key in ("host", "mine"):
        place.make("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    here = place.path
    (here / "sshd_config").write_text(
        f"HostKey {here}/host\nAuthorizedKeysFile {here}/mine.pub\nPidFile none\nUsePAM no\n"
        "StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n"
        "Subsystem sftp internal-sftp\nForceCommand internal-sftp\n"
    )
    (here / "server").write_text(SSHD.format(config=here / "sshd_config"))
    (here / "server").chmod(0o755)
    place.own()
    ssh = f"ProxyCommand={here}/server"
    trust = "StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,LogLevel=ERROR"
    return f"ssh_command=ssh -F none -i {here}/mine,{ssh},{trust}"


@pytest.mark.parametrize("server", [sftp, sshd])
def test_a_directory_of_another_machine_is_read_and_written(puppet: Puppet, place: Place, server):
    options, source = server(place), f"there:{place.content}"
    assert mount(puppet, "umfusessh", source, place.point, options) == ""
    assert look(puppet, place.point) == place.natively()
    assert puppet.ask(f"open({str(place.point / 'new')!r}, 'w').write('new')") == 3
    umount(puppet, place.point)
    assert (place.content / "new").read_text() == "new"
    assert mount(puppet, "umfusessh", source, place.point, f"ro,{options}") == ""
    assert "Read-only" in puppet.ask(f"open({str(place.point / 'x')!r}, 'w')")
    umount(puppet, place.point)
    assert "fuse.sshfs" not in mounts(puppet)


def test_a_machine_that_refuses_is_an_error_in_its_words(puppet: Puppet, place: Place):
    need("sshfs")
    script = place.path / "ssh"
    script.write_text("#!/bin/sh\necho 'there: Connection refused' >&2\nexit 255\n")
    script.chmod(0o755)
    place.own()
    why = mount(puppet, "umfusessh", "there:", place.point, f"ssh_command={script}")
    assert "there: Connection refused" in why, why
    assert "fuse.sshfs" not in mounts(puppet)


def test_a_machine_that_goes_away_is_an_error_and_nobody_hangs(stage: Stage, place: Place):
    options = sftp(place)
    puppet = stage.run("-p", "umfuse")
    assert mount(puppet, "umfusessh", f"there:{place.content}", place.point, options) == ""
    far = int((place.path / "pid").read_text())
    os.kill(far, 9)
    listed = f"os.listdir({str(place.point)!r})"
    until(lambda: "Errno" in str(puppet.ask(listed)), "an error")
    until(lambda: "sshfs has ended" in stage.log(), "the log to say it")
    umount(puppet, place.point)
    assert puppet.ask(listed) == []


def test_sshfs_is_typed_by_hand_as_ever(puppet: Puppet, place: Place):
    words = ["sshfs", "-o", sftp(place), f"there:{place.content}", str(place.point)]
    assert puppet.ask(f"run(*{words!r})") == (0, "", "")
    assert look(puppet, place.point) == place.natively()
    assert puppet.ask(f"run('fusermount3', '-u', {str(place.point)!r})") == (0, "", "")
    assert "fuse.sshfs" not in mounts(puppet)
