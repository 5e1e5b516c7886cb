"""Protocol lists: which address families a list of words names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewos_net.protocols import FAMILIES, chosen, is_protocol
from viewosd.abi.socket import AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX

IP = {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET}


@pytest.mark.parametrize(
    ("text", "families"),
    [
        ("", set(FAMILIES)),
        ("all", set(FAMILIES)),
        ("ip", IP),
        ("+ip", IP),
        ("+ip,-ipv6", IP - {AF_INET6}),
        ("-unix", set(FAMILIES) - {AF_UNIX}),
        ("u,4", {AF_UNIX, AF_INET}),
        ("#16", {AF_NETLINK}),
        ("+all,-6", set(FAMILIES) - {AF_INET6}),
        ("-all", set()),
    ],
)
def test_a_list_names_families(text, families):
    assert chosen(text.split(",") if text else []) == families


@pytest.mark.parametrize("word", ["", "ipv5", "#", "#0", "#64", "+", "#1x", "IP", "++ip"])
def test_what_is_no_protocol_is_refused(word):
    assert not is_protocol(word) or word.startswith("+")
    with pytest.raises(ValueError, match="is no protocol"):
        chosen([word])


@given(st.lists(st.sampled_from(["+ip", "-ip", "+u", "-u", "#16", "-#16", "all", "-all"])))
def test_the_last_word_about_a_family_counts(words):
    families = chosen(words)
    assert families <= set(FAMILIES)
    if words:
        adds = not words[-1].startswith("-")
        last = chosen([words[-1].lstrip("+-")])
        assert last <= families if adds else not last & families
