# SPDX-License-Identifier: BSD-3-Clause
"""Lists that are split, arguments that are refused, replies field by field.

The bytes of every request are in `golden` (docs/spec/virtchnl.md 2-6; docs/spec/reliability.md F4,
F5, F6, F7).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iavfio.errors import ConfigError, MailboxError
from iavfio.virtchnl.messages import describe as messages
from iavfio.virtchnl.messages.events import Event, decode_event
from iavfio.virtchnl.messages.filters import ADD_ETH_ADDR
from iavfio.virtchnl.messages.message_type import AnyMessage, Request
from iavfio.virtchnl.messages.names import opcode_name
from iavfio.virtchnl.messages.queues import (
    CONFIG_IRQ_MAP,
    CONFIG_VSI_QUEUES,
    ENABLE_QUEUES,
    QueuePairConfig,
    VectorMap,
)
from iavfio.virtchnl.messages.registry import MESSAGES
from iavfio.virtchnl.messages.resources import (
    GET_SUPPORTED_RXDIDS,
    GET_VF_RESOURCES,
    REQUEST_QUEUES,
    VERSION,
    Version,
)
from iavfio.virtchnl.messages.rss import (
    CONFIG_RSS_KEY,
    CONFIG_RSS_LUT,
    GET_RSS_HASHCFG_CAPS,
)
from iavfio.virtchnl.messages.rss_rules import ADD_RSS_CFG, Header
from iavfio.virtchnl.messages.stats import GET_STATS
from iavfio.virtchnl.messages.vlan import ADD_VLAN
from iavfio.virtchnl.messages.vlan_v2 import (
    ADD_VLAN_V2,
    GET_OFFLOAD_VLAN_V2_CAPS,
    Setting,
    Support,
    Tag,
    VlanFilter,
    choose_setting,
)
from tests.virtchnl.fake_mailbox import link_event
from tests.virtchnl.fake_mailbox import resources as reply_resources


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


def made(request: Request[Any], vsi: int = 1) -> list[bytes]:
    """The payloads of a request to a VSI."""
    return list(request.payloads(vsi))


# Requests


def test_resources_asks_a_1_0_peer_nothing() -> None:
    assert made(GET_VF_RESOURCES(0x180B80A1, Version(1, 0))) == [b""]


def test_config_of_many_queues_is_split_by_32() -> None:
    pairs = [QueuePairConfig(q, 64, 128, 64, 128, 2048, 1522) for q in range(70)]
    sizes = [len(message) for message in made(CONFIG_VSI_QUEUES(pairs))]
    assert sizes == [72 + 64 * 32, 72 + 64 * 32, 72 + 64 * 6]


def test_long_mac_lists_are_split_to_4096_bytes() -> None:
    macs = [bytes([2, 0, 0, 0, n >> 8, n & 255]) for n in range(1, 1200)]
    parts = made(ADD_ETH_ADDR(macs))
    counts = [int.from_bytes(part[2:4], "little") for part in parts]
    assert counts == [510, 510, 179]
    assert [len(part) for part in parts] == [12 + 8 * n for n in counts]
    assert b"".join(part[4 + 8 * i : 10 + 8 * i] for part, n in zip(parts, counts, strict=True)
                    for i in range(n)) == b"".join(macs)  # fmt: skip


def test_long_vlan_lists_are_split() -> None:
    sizes = [len(part) for part in made(ADD_VLAN([5] * 3000))]
    assert sizes == [6 + 2 * 2045, 6 + 2 * 955]
    single = VlanFilter(inner=Tag(100))
    sizes = [len(m) for m in made(ADD_VLAN_V2([single] * 200))]
    assert sizes == [8 + 32 * 127, 8 + 32 * 73]


# What a PF would refuse is refused here, in words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tx_ring": 100}, "Tx ring 100 is no multiple of 32"),
        ({"rx_ring": 32}, "Rx ring 32 is out of range"),
        ({"rx_ring": 8192}, "Rx ring 8192 is out of range"),
        ({"tx_iova": 64}, "not 128-byte aligned"),
        ({"rx_iova": 0}, "not 128-byte aligned"),
        ({"buffer": 100}, "Rx buffer size 100"),
        ({"buffer": 16384}, "Rx buffer size 16384"),
        ({"max_frame": 16384}, "largest frame 16384"),
        ({"queue": 256}, "queue 256"),
    ],
)
def test_bad_queue_pairs(change: dict[str, int], words: str) -> None:
    good = {"queue": 0, "tx_ring": 64, "tx_iova": 128, "rx_ring": 64, "rx_iova": 128}
    fields = {**good, "buffer": 2048, "max_frame": 1522, **change}
    pair = QueuePairConfig(**fields)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=words):
        made(CONFIG_VSI_QUEUES([pair]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: made(CONFIG_VSI_QUEUES([])),
        lambda: made(CONFIG_VSI_QUEUES([QueuePairConfig(0, 64, 128, 64, 128, 128, 64)] * 2)),
        lambda: made(CONFIG_IRQ_MAP([])),
        lambda: made(CONFIG_IRQ_MAP([VectorMap(1), VectorMap(1)])),
        lambda: made(CONFIG_IRQ_MAP([VectorMap(1, 1 << 16)])),
        lambda: made(CONFIG_IRQ_MAP([VectorMap(1, 1, 1, 4, 0)])),
        lambda: made(CONFIG_IRQ_MAP([VectorMap(v) for v in range(400)])),
        lambda: made(ENABLE_QUEUES(0, 0)),
        lambda: made(ENABLE_QUEUES(1, 0), vsi=1024),
        lambda: made(ADD_ETH_ADDR([])),
        lambda: made(ADD_ETH_ADDR([bytes(6)])),
        lambda: made(ADD_ETH_ADDR([b"\xff" * 6])),
        lambda: made(ADD_ETH_ADDR([bytes(5)])),
        lambda: made(ADD_VLAN([4096])),
        lambda: made(CONFIG_RSS_KEY(b"")),
        lambda: made(CONFIG_RSS_LUT([0, 4], 4)),
        lambda: made(CONFIG_RSS_LUT([])),
        lambda: made(ADD_RSS_CFG([])),
        lambda: made(ADD_RSS_CFG([Header(4, 1)] * 33)),
        lambda: made(REQUEST_QUEUES(0)),
        lambda: made(ADD_VLAN_V2([VlanFilter()])),
        lambda: made(ADD_VLAN_V2([VlanFilter(inner=Tag(1)), VlanFilter(outer=Tag(1))])),
    ],
)
def test_impossible_requests_are_refused_before_they_are_sent(call: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        call()


# Replies


@pytest.mark.parametrize("minor", [0, 1])
def test_version_reply(minor: int) -> None:
    assert VERSION.read(struct.pack("<II", 1, minor)) == Version(1, minor)


@pytest.mark.parametrize("version", [(1, 2), (2, 0), (0, 1), (0xFFFFFFFF, 0)])
def test_other_versions_are_refused_naming_both(version: tuple[int, int]) -> None:
    words = rf"virtchnl {version[0]}\.{version[1]}, this driver speaks 1\.0 and 1\.1"
    with pytest.raises(MailboxError, match=words):
        VERSION.read(struct.pack("<II", *version))


def test_resources_reply_of_ice_and_i40e() -> None:
    ice = reply_resources(pairs=16, vectors=17, vsi_id=1, mac=bytes(6))
    i40e = reply_resources(tail=bytes(16), max_frame=0, caps=0xB0081)
    assert (len(ice), len(i40e)) == (36, 52)
    found = GET_VF_RESOURCES.read(ice)
    assert (found.vsi.vsi_id, found.queue_pairs, found.max_vectors) == (1, 16, 17)
    assert (found.max_frame, found.key_size, found.lut_size) == (9728, 52, 64)
    assert found.vsi.mac is None  # the VF makes one up
    found = GET_VF_RESOURCES.read(i40e)
    assert (found.vsi.vsi_id, found.vsi.qset_handle, found.caps) == (10, 4, 0xB0081)
    assert found.max_frame == 0  # unknown
    assert found.vsi.mac == bytes.fromhex("02badc0ffee0")


# docs/spec/reliability.md F5
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vsis": 0}, "num_vsis is 0"),
        ({"vsis": 5}, "num_vsis is 5"),
        ({"vsis": 2}, "cannot hold 2 VSIs"),
        ({"pairs": 0}, "num_queue_pairs is 0"),
        ({"pairs": 257}, "num_queue_pairs is 257"),
        ({"vectors": 0}, "max_vectors is 0"),
        ({"vectors": 2049}, "max_vectors is 2049"),
        ({"max_frame": 63}, "max_mtu is 63"),
        ({"max_frame": 16384}, "max_mtu is 16384"),
        ({"key": 0}, "rss_key_size is 0"),
        ({"key": 0xFFFFFFFF}, "rss_key_size is 4294967295"),
        ({"lut": 0}, "rss_lut_size is 0"),
        ({"lut": 65}, "rss_lut_size 65 is no power of two"),
        ({"lut": 4096}, "rss_lut_size is 4096"),
        ({"vsi_id": 1024}, "vsi_id is 1024"),
        ({"vsi_pairs": 0}, "VSI queue pairs is 0"),
        ({"vsi_pairs": 5}, "VSI queue pairs is 5"),
        ({"vsi_type": 1}, "no VSI of type SRIOV"),
    ],
)
def test_absurd_resources(change: dict[str, int], words: str) -> None:
    with pytest.raises(MailboxError, match=words):
        GET_VF_RESOURCES.read(reply_resources(**change))  # type: ignore[arg-type]


def test_sizes_of_rss_do_not_matter_without_it() -> None:
    assert GET_VF_RESOURCES.read(reply_resources(caps=1, key=0, lut=0)).lut_size == 0


def test_group_address_is_no_mac() -> None:
    assert GET_VF_RESOURCES.read(reply_resources(mac=b"\x03abcde")).vsi.mac is None


def test_stats_reply() -> None:
    stats = GET_STATS.read(struct.pack("<12Q", *range(1, 12), (1 << 64) - 1))
    assert stats == (*range(1, 12), (1 << 64) - 1)
    assert (stats.rx_bytes, stats.rx_discards, stats.tx_bytes, stats.tx_discards) == (1, 5, 7, 11)


def test_rxdids_reply() -> None:
    assert GET_SUPPORTED_RXDIDS.read((1 << 1 | 1 << 22).to_bytes(8, "little")) == {1, 22}
    with pytest.raises(MailboxError, match="no descriptor format"):
        GET_SUPPORTED_RXDIDS.read(bytes(8))


def test_hashcfg_and_request_queues_replies() -> None:
    assert GET_RSS_HASHCFG_CAPS.read(hexed("0300000000000080")) == 0x8000_0000_0000_0003
    assert REQUEST_QUEUES.read(hexed("0c00")) == 12
    with pytest.raises(MailboxError, match="257"):
        REQUEST_QUEUES.read(hexed("0101"))


def test_vlan_caps_reply() -> None:
    words = (0x80000001, 0x11, 0x1, 8, 0x80000402, 0x80000101, 0x202, 0x105, 0x3)
    caps = GET_OFFLOAD_VLAN_V2_CAPS.read(struct.pack("<IIIHxxIIIIIB3x", *words, 0))
    assert caps.filtering == Support(0x80000001, 0x11)
    assert (caps.filtering_init, caps.max_filters) == (1, 8)
    assert caps.stripping == Support(0x80000402, 0x80000101)
    assert caps.insertion == Support(0x202, 0x105)
    assert (caps.offload_init, caps.must_match) == (3, True)


def test_setting_is_the_outer_tag_where_there_is_one_and_needs_toggle() -> None:
    toggle = 1 << 31
    assert choose_setting(Support(0, 1 | toggle)) == Setting(inner=1)
    both = Support(0x7 | toggle, 1 | toggle)
    assert choose_setting(both) == Setting(outer=1)
    assert choose_setting(both, 0x88A8) == Setting(outer=2)
    with pytest.raises(ConfigError, match="TOGGLE"):
        choose_setting(Support(0, 1))
    with pytest.raises(ConfigError, match="no VLAN offload for ethertype 88a8"):
        choose_setting(Support(0, 1 | toggle), 0x88A8)
    with pytest.raises(ConfigError, match="no VLAN offload"):
        choose_setting(Support(toggle, toggle), 0x1234)


# Events


def test_link_event_in_both_forms() -> None:
    assert decode_event(link_event(25000), True) == Event("link", True, 25000)
    bits = {1: 2500, 2: 100, 4: 1000, 8: 10000, 16: 40000, 32: 20000, 64: 25000, 128: 5000}
    for bit, speed in bits.items():
        assert decode_event(link_event(bit), False) == Event("link", True, speed)
    assert decode_event(link_event(0, up=0), True) == Event("link", False, None)


@pytest.mark.parametrize(("word", "adv"), [(3, False), (256, False), (0xFFFFFFFF, True)])
def test_unknown_speed_is_none(word: int, adv: bool) -> None:
    assert decode_event(link_event(word), adv) == Event("link", True, None)


def test_reset_and_close_events() -> None:
    assert decode_event(struct.pack("<iIIi", 2, 0, 0, 255), True) == Event("reset", severity=255)
    assert decode_event(struct.pack("<iIIi", 3, 0, 0, 0), True) == Event("close")


@pytest.mark.parametrize(
    "payload",
    [b"", bytes(15), bytes(16), struct.pack("<iIIi", 4, 0, 0, 0), link_event(1, up=2)],
)
def test_bad_events(payload: bytes) -> None:
    with pytest.raises(MailboxError):
        decode_event(payload, True)


# Arbitrary bytes

DECODERS: tuple[Callable[[bytes], object], ...] = (
    *(row.read for row in MESSAGES.values()),
    lambda payload: decode_event(payload, True),
    lambda payload: decode_event(payload, False),
)
SIZES = st.one_of(st.integers(0, 120), st.sampled_from([2, 8, 16, 36, 40, 52, 96, 4096]))
BYTES = SIZES.flatmap(lambda size: st.binary(min_size=size, max_size=size))


@settings(max_examples=300, deadline=None)
@given(BYTES)
def test_decoders_raise_nothing_but_mailbox_errors(payload: bytes) -> None:
    for decode in DECODERS:
        try:
            decode(payload)
        except MailboxError as error:
            assert "makes no sense" in str(error) or "virtchnl" in str(error)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["out", "in"]), st.integers(0, 140), st.sampled_from([0, -5, -22, 7]), BYTES)
def test_describing_never_raises(
    direction: messages.Direction, opcode: int, status: int, payload: bytes
) -> None:
    line = messages.describe(direction, opcode, status, payload)
    assert line.startswith(opcode_name(opcode))
    assert "\n" not in line


def test_resources_shorter_than_one_vsi_are_malformed() -> None:
    for length in range(36):
        with pytest.raises(MailboxError):
            GET_VF_RESOURCES.read(reply_resources()[:length])


def test_lengths_of_the_spec_for_one_element() -> None:
    one = {6: 136, 7: 26, 10: 20, 11: 20, 12: 8, 13: 8, 23: 6, 24: 6, 52: 40, 53: 40}
    assert {opcode: MESSAGES[opcode].length.of(1) for opcode in one} == one
    fixed = {1: 8, 2: 0, 3: 4, 8: 12, 9: 12, 14: 4, 15: 12, 18: 8, 25: 0, 26: 8, 27: 0, 28: 0}
    fixed |= {29: 2, 44: 0, 45: 2444, 46: 2444, 51: 0, 54: 16, 55: 16, 56: 16, 57: 16}
    assert {opcode: MESSAGES[opcode].length.of() for opcode in fixed} == fixed
    assert set(one) | set(fixed) | {17} == set(MESSAGES)


# Replies that grow


def test_stats_of_i40e_have_a_13th_word() -> None:
    words = struct.pack("<13Q", *range(1, 14))
    assert GET_STATS.read(words) == GET_STATS.read(words[:96]) == tuple(range(1, 13))


@pytest.mark.parametrize("more", [1, 8, 4096 - 96])
def test_what_a_pf_appends_to_a_structure_changes_nothing(more: int) -> None:
    """The content is what is known; the rest is left alone."""
    replies: dict[AnyMessage, bytes] = {
        VERSION: struct.pack("<II", 1, 1),
        GET_VF_RESOURCES: reply_resources(),
        GET_STATS: struct.pack("<12Q", *range(12)),
        GET_RSS_HASHCFG_CAPS: hexed("0300000000000080"),
        REQUEST_QUEUES: hexed("0c00"),
        GET_SUPPORTED_RXDIDS: hexed("0600ff0300000000"),
        GET_OFFLOAD_VLAN_V2_CAPS: bytes(range(40)),
    }
    for row, payload in replies.items():
        assert row.read(payload + b"\xee" * more) == row.read(payload), row.name
    event = link_event(25000)
    assert decode_event(event + b"\xee" * more, True) == decode_event(event, True)
