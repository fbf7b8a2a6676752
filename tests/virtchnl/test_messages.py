# SPDX-License-Identifier: BSD-3-Clause
"""Golden bytes of every request, and replies field by field (spec: virtchnl 2-6; F4-F7)."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iavfio.errors import ConfigError, MailboxError
from iavfio.virtchnl.messages import describe as messages
from iavfio.virtchnl.messages import filters, queues, resources, rss, vlan
from iavfio.virtchnl.messages import opcodes as op
from iavfio.virtchnl.messages.events import Event, decode_event
from iavfio.virtchnl.messages.queues import QueuePair, VectorMap
from iavfio.virtchnl.messages.resources import Version
from iavfio.virtchnl.messages.rss import HashFunction
from iavfio.virtchnl.messages.vlan import Setting, Support, Tag, VlanFilter
from iavfio.virtchnl.messages.wire import REQUEST
from tests.virtchnl.fake_mailbox import link_event
from tests.virtchnl.fake_mailbox import resources as reply_resources

MAC_A, MAC_B = bytes.fromhex("020000000001"), bytes.fromhex("01005e000001")


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


# Requests


def test_version() -> None:
    assert resources.encode_version(Version(1, 1)) == hexed("01000000 01000000")


def test_resources_asks_a_word_and_nothing_of_a_1_0_peer() -> None:
    assert resources.encode_resources(0x180B80A1, Version(1, 1)) == hexed("a1800b18")
    assert resources.encode_resources(0x180B80A1, Version(1, 0)) == b""


def test_config_queues() -> None:
    pairs = [
        QueuePair(0, 512, 0x1_0000_0000, 1024, 0x1_0000_4000, 2048, 1522, rxdid=22),
        QueuePair(1, 64, 0x80, 96, 0x100, 128, 64, crc_disable=True, rx_timestamp=True),
    ]
    (message,) = queues.encode_config_queues(10, pairs)
    assert message == hexed(
        "0a00 0200 00000000"
        # Tx 0: vsi, queue, ring, head write-back off, base, no head write-back address
        "0a00 0000 0002 0000 0000000001000000 0000000000000000"
        # Rx 0: vsi, queue, ring, header split off, buffer, max, crc/rxdid/flags/pad, base, split
        "0a00 0000 00040000 0000 0000 00080000 f2050000 00160000 0040000001000000 0000000000000000"
        "0a00 0100 4000 0000 8000000000000000 0000000000000000"
        "0a00 0100 60000000 0000 0000 80000000 40000000 01000100 0001000000000000 0000000000000000"
        # the historic extra element
        + "00"
        * 64
    )
    assert len(message) == 72 + 2 * 64


def test_config_of_many_queues_is_split_by_32() -> None:
    pairs = [QueuePair(q, 64, 128, 64, 128, 2048, 1522) for q in range(70)]
    sizes = [len(message) for message in queues.encode_config_queues(1, pairs)]
    assert sizes == [72 + 64 * 32, 72 + 64 * 32, 72 + 64 * 6]


def test_irq_map() -> None:
    message = queues.encode_irq_map(1, [VectorMap(1, 0x5, 0xA), VectorMap(0, 0, 0, 3, 3)])
    assert message == hexed(
        "0200 0100 0100 0500 0a00 0000 0100 0100 0000 0000 0000 0300 0300" + "00" * 12
    )
    assert len(queues.encode_irq_map(1, [VectorMap(v) for v in range(5)])) == 74


@pytest.mark.parametrize("opcode", [op.ENABLE_QUEUES, op.DISABLE_QUEUES, op.GET_STATS])
def test_queue_select(opcode: int) -> None:
    message = queues.encode_queue_select(opcode, 0x102, 0xF, 0x8000)
    assert message == hexed("0201 0000 0f000000 00800000")


@pytest.mark.parametrize("opcode", [op.ADD_ETH_ADDR, op.DEL_ETH_ADDR])
def test_macs(opcode: int) -> None:
    (message,) = filters.encode_macs(opcode, 10, [MAC_A, MAC_B], primary=MAC_A)
    assert message == hexed("0a00 0200 020000000001 01 00 01005e000001 02 00" + "00" * 8)
    assert len(filters.encode_macs(opcode, 10, [MAC_A])[0]) == 20


def test_long_mac_lists_are_split_to_4096_bytes() -> None:
    macs = [bytes([2, 0, 0, 0, n >> 8, n & 255]) for n in range(1, 1200)]
    parts = filters.encode_macs(op.ADD_ETH_ADDR, 1, macs)
    counts = [int.from_bytes(part[2:4], "little") for part in parts]
    assert counts == [510, 510, 179]
    assert [len(part) for part in parts] == [12 + 8 * n for n in counts]
    assert b"".join(part[4 + 8 * i : 10 + 8 * i] for part, n in zip(parts, counts, strict=True)
                    for i in range(n)) == b"".join(macs)  # fmt: skip


@pytest.mark.parametrize("opcode", [op.ADD_VLAN, op.DEL_VLAN])
def test_vlans(opcode: int) -> None:
    (message,) = filters.encode_vlans(opcode, 10, [1, 0xFFF])
    assert message == hexed("0a00 0200 0100 ff0f 0000")
    sizes = [len(part) for part in filters.encode_vlans(opcode, 10, [5] * 3000)]
    assert sizes == [6 + 2 * 2045, 6 + 2 * 955]


def test_promiscuous() -> None:
    assert filters.encode_promiscuous(10, True, False) == hexed("0a00 0100")
    assert filters.encode_promiscuous(10, False, True) == hexed("0a00 0200")
    assert filters.encode_promiscuous(10, False, False) == hexed("0a00 0000")


def test_rss_key_has_one_byte_more() -> None:
    message = rss.encode_rss_key(10, bytes(range(52)))
    assert message == hexed("0a00 3400") + bytes(range(52)) + b"\0"
    assert len(message) == 57


def test_rss_lut_has_one_byte_more() -> None:
    message = rss.encode_rss_lut(10, [q % 4 for q in range(64)], 4)
    assert message == hexed("0a00 4000" + "00010203" * 16 + "00")
    assert len(message) == 69


def test_rss_hfunc_and_fields() -> None:
    symmetric = rss.encode_rss_hfunc(1, HashFunction.SYMMETRIC_TOEPLITZ)
    assert symmetric == hexed("0100 0200 00000000")
    assert rss.encode_hashcfg(0x8000_0000_0000_0003) == hexed("0300000000000080")


def test_request_queues() -> None:
    assert resources.encode_request_queues(16) == hexed("1000")


def test_vlan_filters_v2() -> None:
    single = VlanFilter(inner=Tag(100))
    double = VlanFilter(outer=Tag(0x2064, 0x88A8, 0xFFF), inner=Tag(7))
    (message,) = vlan.encode_vlan_filters(op.ADD_VLAN_V2, 1, [single])
    assert message == hexed("0100 0100 00000000 6400 0000 0081 0000" + "00" * 24)
    (message,) = vlan.encode_vlan_filters(op.DEL_VLAN_V2, 1, [double])
    assert message[8:] == hexed("0700 0000 0081 0000 6420 ff0f a888 0000" + "00" * 16)
    sizes = [len(m) for m in vlan.encode_vlan_filters(op.ADD_VLAN_V2, 1, [single] * 200)]
    assert sizes == [8 + 32 * 127, 8 + 32 * 73]


def test_vlan_setting_v2() -> None:
    message = vlan.encode_vlan_setting(op.ENABLE_VLAN_STRIPPING_V2, 1, Setting(inner=1))
    assert message == hexed("00000000 01000000 0100 000000000000")


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
    pair = QueuePair(**fields)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=words):
        queues.encode_config_queues(1, [pair])


@pytest.mark.parametrize(
    "call",
    [
        lambda: queues.encode_config_queues(1, []),
        lambda: queues.encode_config_queues(1, [QueuePair(0, 64, 128, 64, 128, 128, 64)] * 2),
        lambda: queues.encode_irq_map(1, []),
        lambda: queues.encode_irq_map(1, [VectorMap(1), VectorMap(1)]),
        lambda: queues.encode_irq_map(1, [VectorMap(1, 1 << 16)]),
        lambda: queues.encode_irq_map(1, [VectorMap(1, 1, 1, 4, 0)]),
        lambda: queues.encode_irq_map(1, [VectorMap(v) for v in range(400)]),
        lambda: queues.encode_queue_select(op.ENABLE_QUEUES, 1, 0, 0),
        lambda: queues.encode_queue_select(op.ENABLE_QUEUES, 1024, 1, 0),
        lambda: filters.encode_macs(op.ADD_ETH_ADDR, 1, []),
        lambda: filters.encode_macs(op.ADD_ETH_ADDR, 1, [bytes(6)]),
        lambda: filters.encode_macs(op.ADD_ETH_ADDR, 1, [b"\xff" * 6]),
        lambda: filters.encode_macs(op.ADD_ETH_ADDR, 1, [bytes(5)]),
        lambda: filters.encode_vlans(op.ADD_VLAN, 1, [4096]),
        lambda: rss.encode_rss_key(1, b""),
        lambda: rss.encode_rss_lut(1, [0, 4], 4),
        lambda: rss.encode_rss_lut(1, []),
        lambda: resources.encode_request_queues(0),
        lambda: vlan.encode_vlan_filters(op.ADD_VLAN_V2, 1, [VlanFilter()]),
        lambda: vlan.encode_vlan_filters(
            op.ADD_VLAN_V2, 1, [VlanFilter(inner=Tag(1)), VlanFilter(outer=Tag(1))]
        ),
    ],
)
def test_impossible_requests_are_refused_before_they_are_sent(call: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        call()


# Replies


@pytest.mark.parametrize("minor", [0, 1])
def test_version_reply(minor: int) -> None:
    assert resources.decode_version(struct.pack("<II", 1, minor)) == Version(1, minor)


@pytest.mark.parametrize("version", [(1, 2), (2, 0), (0, 1), (0xFFFFFFFF, 0)])
def test_other_versions_are_refused_naming_both(version: tuple[int, int]) -> None:
    words = rf"virtchnl {version[0]}\.{version[1]}, this driver speaks 1\.0 and 1\.1"
    with pytest.raises(MailboxError, match=words):
        resources.decode_version(struct.pack("<II", *version))


def test_resources_reply_of_ice_and_i40e() -> None:
    ice = reply_resources(pairs=16, vectors=17, vsi_id=1, mac=bytes(6))
    i40e = reply_resources(tail=bytes(16), max_frame=0, caps=0xB0081)
    assert (len(ice), len(i40e)) == (36, 52)
    found = resources.decode_resources(ice)
    assert (found.vsi.vsi_id, found.queue_pairs, found.max_vectors) == (1, 16, 17)
    assert (found.max_frame, found.key_size, found.lut_size) == (9728, 52, 64)
    assert found.vsi.mac is None  # the VF makes one up
    found = resources.decode_resources(i40e)
    assert (found.vsi.vsi_id, found.vsi.qset_handle, found.caps) == (10, 4, 0xB0081)
    assert found.max_frame == 0  # unknown
    assert found.vsi.mac == bytes.fromhex("02badc0ffee0")


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
        resources.decode_resources(reply_resources(**change))  # type: ignore[arg-type]


def test_sizes_of_rss_do_not_matter_without_it() -> None:
    assert resources.decode_resources(reply_resources(caps=1, key=0, lut=0)).lut_size == 0


def test_group_address_is_no_mac() -> None:
    assert resources.decode_resources(reply_resources(mac=b"\x03abcde")).vsi.mac is None


def test_stats_reply() -> None:
    stats = queues.decode_stats(struct.pack("<12Q", *range(1, 12), (1 << 64) - 1))
    assert stats == (*range(1, 12), (1 << 64) - 1)
    assert (stats.rx_bytes, stats.rx_discards, stats.tx_bytes, stats.tx_discards) == (1, 5, 7, 11)


def test_rxdids_reply() -> None:
    assert resources.decode_rxdids((1 << 1 | 1 << 22).to_bytes(8, "little")) == {1, 22}
    with pytest.raises(MailboxError, match="no descriptor format"):
        resources.decode_rxdids(bytes(8))


def test_hashcfg_and_request_queues_replies() -> None:
    assert rss.decode_hashcfg(hexed("0300000000000080")) == 0x8000_0000_0000_0003
    assert resources.decode_request_queues(hexed("0c00")) == 12
    with pytest.raises(MailboxError, match="257"):
        resources.decode_request_queues(hexed("0101"))


def test_vlan_caps_reply() -> None:
    words = (0x80000001, 0x11, 0x1, 8, 0x80000402, 0x80000101, 0x202, 0x105, 0x3)
    caps = vlan.decode_vlan_caps(struct.pack("<IIIHxxIIIIIB3x", *words, 0))
    assert caps.filtering == Support(0x80000001, 0x11)
    assert (caps.filtering_init, caps.max_filters) == (1, 8)
    assert caps.stripping == Support(0x80000402, 0x80000101)
    assert caps.insertion == Support(0x202, 0x105)
    assert (caps.offload_init, caps.must_match) == (3, True)


def test_setting_is_the_outer_tag_where_there_is_one_and_needs_toggle() -> None:
    toggle = 1 << 31
    assert vlan.choose_setting(Support(0, 1 | toggle)) == Setting(inner=1)
    both = Support(0x7 | toggle, 1 | toggle)
    assert vlan.choose_setting(both) == Setting(outer=1)
    assert vlan.choose_setting(both, 0x88A8) == Setting(outer=2)
    with pytest.raises(ConfigError, match="TOGGLE"):
        vlan.choose_setting(Support(0, 1))
    with pytest.raises(ConfigError, match="no VLAN offload for ethertype 88a8"):
        vlan.choose_setting(Support(0, 1 | toggle), 0x88A8)
    with pytest.raises(ConfigError, match="no VLAN offload"):
        vlan.choose_setting(Support(toggle, toggle), 0x1234)


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
    [b"", bytes(15), bytes(17), bytes(16), struct.pack("<iIIi", 4, 0, 0, 0), link_event(1, up=2)],
)
def test_bad_events(payload: bytes) -> None:
    with pytest.raises(MailboxError):
        decode_event(payload, True)


# Arbitrary bytes

DECODERS: tuple[Callable[[bytes], object], ...] = (
    resources.decode_version,
    resources.decode_resources,
    resources.decode_request_queues,
    resources.decode_rxdids,
    queues.decode_stats,
    rss.decode_hashcfg,
    vlan.decode_vlan_caps,
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
    assert line.startswith(op.opcode_name(opcode))
    assert "\n" not in line


@pytest.mark.parametrize(
    ("decode", "size"),
    [
        (resources.decode_version, 8),
        (resources.decode_request_queues, 2),
        (resources.decode_rxdids, 8),
        (queues.decode_stats, 96),
        (rss.decode_hashcfg, 8),
        (vlan.decode_vlan_caps, 40),
    ],
)
def test_replies_have_one_length(decode: Callable[[bytes], object], size: int) -> None:
    for wrong in (0, size - 1, size + 1, 4096):
        with pytest.raises(MailboxError, match="bytes, not"):
            decode(b"\x01" * wrong)


def test_resources_shorter_than_one_vsi_are_malformed() -> None:
    for length in range(36):
        with pytest.raises(MailboxError):
            resources.decode_resources(reply_resources()[:length])


def test_lengths_of_the_spec_for_one_element() -> None:
    one = {6: 136, 7: 26, 10: 20, 11: 20, 12: 8, 13: 8, 23: 6, 24: 6, 52: 40, 53: 40}
    assert {opcode: REQUEST[opcode].of(1) for opcode in one} == one
    fixed = {1: 8, 2: 0, 3: 4, 8: 12, 9: 12, 14: 4, 15: 12, 18: 8, 25: 0, 26: 8, 27: 0, 28: 0}
    fixed |= {29: 2, 44: 0, 51: 0, 54: 16, 55: 16, 56: 16, 57: 16}
    assert {opcode: REQUEST[opcode].of() for opcode in fixed} == fixed
    assert set(one) | set(fixed) == set(REQUEST)


def test_opcode_numbers_agree_with_the_layouts() -> None:
    for name, number in vars(op).items():
        if name.isupper() and isinstance(number, int):
            assert op.NAMES[number] == name
