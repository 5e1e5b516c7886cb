"""Options of a stack as text, and the command line that a way out becomes."""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewos_clients.options import OptionError, Options
from viewos_net import files, nat
from viewos_net.options import Publish, Wish, parse, published

ports = st.integers(1, 65535)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080:80", Publish("", 8080, 80)),
        ("8080:80/tcp", Publish("", 8080, 80)),
        ("53:53/udp", Publish("", 53, 53, True)),
        ("127.0.0.1:8080:80", Publish("127.0.0.1", 8080, 80)),
        ("[::1]:8080:80/udp", Publish("::1", 8080, 80, True)),
    ],
)
def test_a_published_port_is_read(text, expected):
    assert published(text) == expected
    assert published(str(expected)) == expected


@given(st.sampled_from(["", "127.0.0.1", "::1"]), ports, ports, st.booleans())
def test_a_published_port_is_written_as_it_is_read(address, outside, inside, udp):
    port = Publish(address, outside, inside, udp)
    assert published(str(port)) == port


@pytest.mark.parametrize(
    "text", ["", "80", "80:", ":80", "0:80", "80:65536", "x:80:80", "80:80/sctp", "::1:80:80", "8:8:8:8"]
)  # fmt: skip
def test_what_is_no_published_port_is_einval(text):
    with pytest.raises(OSError, match=r"publish=|is no address") as caught:
        published(text)
    assert caught.value.errno == errno.EINVAL


@given(st.text(max_size=40))
def test_no_text_makes_it_fail_otherwise(text):
    with suppress(OSError):
        published(text)


def test_options_are_read():
    pairs = [("nat", ""), ("publish", "80:80"), ("dns", "192.0.2.1"), ("host", "db:10.0.0.2")]
    wish = parse(pairs)
    assert wish.nat
    assert wish.publish == [Publish("", 80, 80)]
    assert (wish.dns, wish.hosts) == (["192.0.2.1"], [("10.0.0.2", "db")])


@pytest.mark.parametrize(
    "pair", [("size", "4"), ("nat", "no"), ("publish", "80:80"), ("dns", "x"), ("host", "a b:1.2.3.4"),
             ("host", "db"), ("host", ":1.2.3.4")],
)  # fmt: skip
def test_an_option_that_makes_no_sense_is_einval(pair):
    with pytest.raises(OSError, match="net: ") as caught:
        parse([pair])
    assert caught.value.errno == errno.EINVAL


def test_ports_become_options_of_pasta():
    wish = Wish(nat=True, publish=[published("127.0.0.1:8080:80"), published("53:5353/udp")])
    line = " ".join(nat.words(wish, root=False))
    assert "-t 127.0.0.1/8080:80 " in line
    assert "-u 53:5353 " in line
    assert "--userns" in line
    assert "--userns" not in nat.words(Wish(nat=True), root=True)
    assert " -t none -u none" in " ".join(nat.words(Wish(nat=True), root=True))


def test_name_servers_are_the_addresses_in_resolv_conf(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("# x\nnameserver 127.0.0.53\nsearch a\nnameserver\nnameserver fe80::1%eth0\n")
    assert nat.nameservers(str(path)) == ["127.0.0.53", "fe80::1%eth0"]
    assert nat.nameservers(str(tmp_path / "none")) == []


def test_files_keep_what_they_are_not_asked_to_change():
    before = ["search lan", "nameserver 127.0.0.53", "options edns0"]
    after = files.resolv_conf(["192.0.2.1"], before)
    assert after == "search lan\noptions edns0\nnameserver 192.0.2.1\n"
    assert files.hosts([("10.0.0.2", "db")], ["127.0.0.1 localhost"]).splitlines() == [
        "10.0.0.2\tdb",
        "127.0.0.1 localhost",
    ]


def test_publish_may_stand_before_or_behind_its_net():
    for words in (["--net", "nat", "--publish", "1:2"], ["--publish", "1:2", "--net", "nat"]):
        *_, step = Options.parse([*words, "--", "true"]).steps
        assert step == ("mount", "umnetns", "nat,publish=1:2", b"none", b"/dev/net/default")
    with pytest.raises(OptionError, match="it goes with --net nat"):
        Options.parse(["--net", "none", "--publish", "1:2", "--", "true"])
