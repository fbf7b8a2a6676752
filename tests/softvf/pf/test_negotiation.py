# SPDX-License-Identifier: BSD-3-Clause
"""VERSION, GET_VF_RESOURCES, allow-list, lengths; bytes by hand.

See docs/spec/virtchnl.md 1, 4, 5, 9.
"""

from __future__ import annotations

import struct

import pytest

from iavfio.softvf.personality import named
from tests.softvf.pf import pf_rig
from tests.softvf.pf.pf_rig import CARDS, EVENT, LINUX_CAPS, PARAM, VPP_CAPS, Rig, macs, rig

UNSUPPORTED = {"e810": -64, "x710": -95, "x722": -95}


def test_e810_reply_byte_by_byte() -> None:
    with rig("e810") as pf:
        reply = pf.negotiate(VPP_CAPS)
    assert reply.hex() == (
        "0100100011000026a1800a083400000040000000"
        "01001000060000000000000000000000"
    )  # fmt: skip


def test_x710_reply_byte_by_byte() -> None:
    with rig("x710") as pf:
        reply = pf.negotiate(VPP_CAPS | 1 << 25)
    assert reply.hex() == (
        "010004000500002681000b003400000040000000"
        "0a000400060000000400021af04c0000"
        "00000000000000000000000000000000"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("card", "asked", "granted"),
    [
        ("e810", LINUX_CAPS, 0x0E3C84E1),
        ("x710", LINUX_CAPS, 0x009900C1),
        ("x722", LINUX_CAPS, 0x00BD00E1),
        ("e810", VPP_CAPS, 0x080A80A1),
        ("x710", VPP_CAPS, 0x000B0081),
        ("x722", VPP_CAPS, 0x000B00A1),
        ("e810", pf_rig.DPDK_CAPS, 0x0E0A84E1),
        ("e810", 0, 0x00000001),
        ("x710", 0, 0x00010091),
        ("e810", 1 << 16, 0x00010001),
        ("e810", 1 << 16 | 1 << 15, 0x00008001),
    ],
)
def test_granted_words(card: str, asked: int, granted: int) -> None:
    with rig(card) as pf:
        assert struct.unpack_from("<I", pf.negotiate(asked), 8) == (granted,)


@pytest.mark.parametrize(
    ("card", "asked", "granted"),
    [
        ("e810", 0x18, 0),
        ("x710", 0, 0x10),  # i40e: unasked, unless RSS_PF is asked for
        ("x710", 0x18, 0x10),
        ("x710", 0x80018, 0),
        ("x722", 0x10, 0x10),
        ("x722", 0x18, 0x08),
        ("x722", 0x80018, 0),
    ],
)
def test_rss_by_adminq_or_register(card: str, asked: int, granted: int) -> None:
    with rig(card) as pf:
        assert struct.unpack_from("<I", pf.negotiate(asked), 8)[0] & 0x18 == granted


@pytest.mark.parametrize("card", CARDS)
def test_version_answers(card: str) -> None:
    with rig(card) as pf:
        assert pf.ask(1, struct.pack("<II", 1, 0)) == (0, struct.pack("<II", 1, 0))
        assert pf.status(3, struct.pack("<I", LINUX_CAPS)) == PARAM[card]  # a 1.0 VF sends none
        status, reply = pf.ask(3)
        assert status == 0
        assert struct.unpack_from("<I", reply, 8)[0] == (0x10001 if card == "e810" else 0x10091)
    with rig(card) as pf:
        assert pf.ask(1, struct.pack("<II", 2, 7)) == (0, struct.pack("<II", 1, 1))
        assert any("2.7" in text for text in pf.violations)


@pytest.mark.parametrize("card", CARDS)
def test_resources_before_version_are_judged_as_from_a_1_0_vf(card: str) -> None:
    with rig(card) as pf:
        assert pf.status(3, struct.pack("<I", LINUX_CAPS)) == PARAM[card]
        assert "exactly 0 wanted" in pf.violations[0]


@pytest.mark.parametrize("card", CARDS)
def test_link_change_follows_the_resources(card: str) -> None:
    with rig(card) as pf:
        pf.say(1, struct.pack("<II", 1, 1))
        sent = pf.say(3, struct.pack("<I", LINUX_CAPS))
        assert [each[0] for each in sent] == [3, EVENT]
        down = struct.pack("<IIB3xI", 1, 0, 0, 0)  # ice: no queue is enabled yet
        assert sent[1] == (EVENT, 0, down if card == "e810" else pf_rig.LINK_UP_ADV[card])
        assert pf.violations == []


@pytest.mark.parametrize(("speed", "bit"), [(100000, 0x10), (40000, 0x10), (25000, 0x40),
                                            (10000, 0x08), (1000, 0x04)])  # fmt: skip
def test_link_speed_is_a_bit_for_a_vf_that_did_not_ask(speed: int, bit: int) -> None:
    with rig("x710", link_speed=speed) as pf:
        pf.say(1, struct.pack("<II", 1, 1))
        sent = pf.say(3, struct.pack("<I", 0x10001))
        assert sent[1][2] == struct.pack("<IIB3xI", 1, bit, 1, 0)


def test_i40e_answers_resources_once_per_reset_and_ice_again_and_again() -> None:
    word = struct.pack("<I", LINUX_CAPS)
    with rig("x710") as pf:
        pf.negotiate()
        assert pf.status(3, word) == -22
    with rig("x710", pf_kernel="oot") as pf:
        pf.negotiate()
        assert pf.status(3, word) == -5
    for card, options in (("e810", {}), ("x710", {"resources_once": False})):
        with rig(card, **options) as pf:
            assert pf.negotiate() == pf.ask(3, word)[1]
            assert pf.violations == []


@pytest.mark.parametrize("card", ("x710", "x722"))
def test_i40e_takes_its_mac_back_from_a_vf_that_does_not_ask_for_uso(card: str) -> None:
    mac = named(card).default_mac(0)
    with rig(card) as pf:
        assert pf.negotiate(VPP_CAPS)[30:36] == bytes(6)
        assert pf.config.macs == () and pf.config.primary_mac is None
    with rig(card) as pf:
        assert pf.negotiate(VPP_CAPS | 1 << 25)[30:36] == mac
        assert pf.config.macs == (mac,)
    with rig(card, pf_kernel="oot") as pf:
        assert pf.negotiate(VPP_CAPS)[30:36] == mac
    with rig(card) as pf:
        pf.pf.control({"command": "mac", "vf": 0, "mac": "02:00:00:00:00:99"})
        pf.clock.advance(1000)
        assert pf.negotiate(VPP_CAPS)[30:36].hex() == "020000000099"


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_i40e_takes_back_the_mac_that_the_vf_added_as_well(kernel: str) -> None:
    """It becomes the VF's own with the first message, and is asked about with the next."""
    mine, other = "020000000001", "020000000002"
    with rig("x710", mac="zero", pf_kernel=kernel) as pf:
        assert pf.status(1, struct.pack("<II", 1, 1)) == 0
        assert pf.status(10, macs(pf.vsi, mine, other, kind=0)) == 0
        assert pf.ask(3, struct.pack("<I", VPP_CAPS))[1][30:36] == bytes(6)
        assert [mac.hex() for mac in pf.config.macs] == [other]


def test_ice_has_no_mac_until_somebody_chooses_one() -> None:
    with rig("e810") as pf:
        assert pf.negotiate()[30:36] == bytes(6)
    with rig("e810", mac="set") as pf:
        assert pf.negotiate()[30:36].hex() == "021af0890000"


def test_resources_with_a_port_vlan() -> None:
    with rig("e810") as pf:
        pf.pf.control({"command": "vlan", "vf": 0, "vlan": 100})
        pf.clock.advance(1000)
        reply = pf.negotiate(1 << 16)
        assert struct.unpack_from("<HI", reply, 6) == (9724, 0x00000001)
    for pf_kernel, word in (("6.12", 0x91), ("oot", 0x10091)):
        with rig("x710", pf_kernel=pf_kernel) as pf:
            pf.pf.control({"command": "vlan", "vf": 0, "vlan": 100})
            pf.clock.advance(1000)
            assert struct.unpack_from("<I", pf.negotiate(1 << 16), 8) == (word,)


def test_rx_polling_counts_on_i40e_only() -> None:
    for card, on in (("e810", False), ("x710", True)):
        with rig(card) as pf:
            pf.negotiate(VPP_CAPS)
            assert ("rx_polling", 0, on) in pf.plane.calls


def test_an_mfp_port_refuses_a_vf_that_asks_for_rx_polling() -> None:
    for card, refused in (("x710", True), ("x722", True), ("e810", False)):
        with rig(card, mfp=True) as pf:
            pf.say(1, struct.pack("<II", 1, 1))
            status = pf.status(3, struct.pack("<I", VPP_CAPS))
            assert status == (-22 if refused else 0)
            if refused:
                assert "RX_POLLING" in pf.notes[-1]
                assert pf.snapshot()["state"] == "init"
                assert pf.status(3, struct.pack("<I", VPP_CAPS & ~(1 << 17))) == 0


# ---- what may be said when


def test_what_ice_has_unlocked_stays_so_until_a_reset() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        pf.negotiate(0)
        assert pf.status(51) == 0
        pf.pf.flr(0)
        pf.clock.advance(1000)
        pf.negotiate(0)
        assert pf.status(51) == -64


def test_ice_refuses_what_was_not_unlocked() -> None:
    with rig("e810") as pf:
        for opcode, payload in (
            (6, pf_rig.config_queues(1, pf_rig.pair(1, 0))),
            (8, pf_rig.select(1, 1, 1)),
            (10, pf_rig.macs(1, "02:00:00:00:00:01")),
            (51, b""),
        ):
            assert pf.status(opcode, payload) == -64
        pf.negotiate(0)  # L2 only
        for opcode, size in ((25, 0), (29, 2), (44, 0), (51, 0), (47, 2616)):
            assert pf.status(opcode, bytes(size)) == -64
        for opcode, size in ((60, 48), (61, 16), (66, 0), (113, 12)):  # later than Linux 6.12
            assert pf.status(opcode, bytes(size)) == -5
        assert pf.status(12, pf_rig.vlans(1, 5)) == -64
        assert pf.status(10, pf_rig.macs(1, "02:00:00:00:00:01")) == 0


def test_ice_allow_list_goes_back_to_the_default_after_a_reset() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(51) == 0
        pf.say(2)
        pf.clock.advance(1000)
        assert pf.status(51) == -64
        assert pf.status(15, pf_rig.select(1, 0, 0)) == -64


@pytest.mark.parametrize("card", ("x710", "x722"))
def test_i40e_serves_a_vf_before_get_vf_resources(card: str) -> None:
    with rig(card) as pf:
        vsi = pf.vsi
        for opcode, payload in (
            (6, pf_rig.config_queues(vsi, pf_rig.pair(vsi, 0))),
            (7, pf_rig.irq_map((vsi, 1, 1, 1, 0, 1))),
            (8, pf_rig.select(vsi, 1, 1)),
            (10, pf_rig.macs(vsi, "02:00:00:00:00:01")),
            (12, pf_rig.vlans(vsi, 1)),
            (14, pf_rig.promisc(vsi, 1)),
            (15, pf_rig.select(vsi, 0, 0)),
            (23, pf_rig.rss_key(vsi, bytes(52))),
            (27, b""),
        ):
            assert pf.status(opcode, payload) == 0
            assert any("before GET_VF_RESOURCES" in text for text in pf.violations)
            pf.hardware[0].log.clear()


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(("opcode", "size"), [(3, 0), (3, 5), (8, 11)])
def test_no_link_event_follows_a_message_that_no_handler_saw(
    card: str, opcode: int, size: int
) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert pf.say(opcode, bytes(size)) == [(opcode, PARAM[card], b"")]


@pytest.mark.parametrize("card", pf_rig.I40E)
def test_i40e_answers_disable_channels_with_a_reset(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert pf.say(31) == [(17, 0, pf_rig.RESET_IMPENDING)]
        pf.clock.advance(1000)
        assert pf.hardware[0].begun == 1
        assert pf.snapshot()["state"] == "init"


def test_opcodes_that_exist_but_are_not_served() -> None:
    for card in CARDS:
        with rig(card) as pf:
            pf.negotiate()
            assert pf.status(4, bytes(24)) == UNSUPPORTED[card]
            assert pf.status(5, bytes(40)) == UNSUPPORTED[card]
    with rig("x710") as pf:
        pf.negotiate()
        for opcode, size in (
            (18, 8),
            (44, 0),
            (45, 2444),
            (47, 2616),
            (51, 0),
        ):
            assert pf.status(opcode, bytes(size)) == -95
        # Linux 6.12 does not know these opcodes (docs/spec/pf-dialects.md 1).
        for opcode, size in ((60, 48), (61, 16), (66, 0), (112, 16), (113, 12)):
            assert pf.status(opcode, bytes(size)) == -22
    with rig("x710", pf_kernel="7.x") as pf:
        pf.negotiate()
        quanta = struct.pack("<HHIHH", 64, 0, 0, 0, 1)
        for opcode, payload in ((60, bytes(48)), (61, bytes(16)), (66, b""), (113, quanta)):
            assert pf.status(opcode, payload) == -95
        assert pf.status(113, bytes(12)) == -22
    with rig("x710") as pf:
        pf.negotiate()
        for opcode, payload in (
            (20, b"x"),
            (21, struct.pack("<I", 1) + bytes(12)),
            (22, b""),
            (30, struct.pack("<II", 1, 0) + bytes(16)),
            (32, bytes(272)),
            (33, bytes(272)),
        ):
            assert pf.status(opcode, payload) == -22


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("opcode", [0, 16, 17, 19, 34, 49, 50, 58, 62, 107, 111, 114, 135, 65535])
def test_opcodes_that_the_pf_does_not_know(card: str, opcode: int) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert pf.ask(opcode, bytes(8)) == (PARAM[card], b"")
        assert str(opcode) in pf.violations[-1]


@pytest.mark.parametrize("card", CARDS)
def test_lengths_are_exact(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate(LINUX_CAPS & ~(1 << 15))
        vsi = pf.vsi
        good = {
            6: pf_rig.config_queues(vsi, pf_rig.pair(vsi, 0)),
            7: pf_rig.irq_map((vsi, 1, 1, 1, 0, 1)),
            9: pf_rig.select(vsi, 1, 1),
            10: pf_rig.macs(vsi, "02:00:00:00:00:01"),
            11: pf_rig.macs(vsi, "02:00:00:00:00:01"),
            12: pf_rig.vlans(vsi, 5),
            13: pf_rig.vlans(vsi, 5),
            14: pf_rig.promisc(vsi, 0),
            15: pf_rig.select(vsi, 0, 0),
            23: pf_rig.rss_key(vsi, bytes(52)),
            24: pf_rig.rss_lut(vsi, bytes(64)),
            25: b"",
            26: bytes(8),
            27: b"",
            28: b"",
        }
        for opcode, payload in good.items():
            assert pf.status(opcode, payload) == 0, opcode
        assert pf.violations == []
        for opcode, payload in good.items():
            assert pf.status(opcode, payload + b"\0") == PARAM[card], opcode
            if payload:
                assert pf.status(opcode, payload[:-1]) == PARAM[card], opcode
        assert all("wanted" in text for text in pf.violations)


def test_lengths_of_the_spec_examples() -> None:
    assert len(pf_rig.macs(1, "02:00:00:00:00:01")) == 20
    assert len(pf_rig.config_queues(1, *(pf_rig.pair(1, i) for i in range(4)))) == 328
    assert len(pf_rig.irq_map(*((1, i, 0, 0, 0, 0) for i in range(5)))) == 74
    assert len(pf_rig.rss_lut(1, bytes(64))) == 69
    assert len(pf_rig.rss_key(1, bytes(52))) == 57


@pytest.mark.parametrize("card", CARDS)
def test_lists_without_elements_are_refused(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate(LINUX_CAPS & ~(1 << 15))
        vsi = pf.vsi
        empty = struct.pack("<HH", vsi, 0)
        for opcode, payload in (
            (6, empty + bytes(68)),
            (7, bytes(14)),
            (10, empty + bytes(8)),
            (12, empty + bytes(2)),
            (23, empty + bytes(1)),
        ):
            assert pf.status(opcode, payload) == PARAM[card]


@pytest.mark.parametrize("card", CARDS)
def test_a_wrong_vsi_is_refused_and_logged(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        for opcode, payload in (
            (6, pf_rig.config_queues(99, pf_rig.pair(99, 0))),
            (7, pf_rig.irq_map((99, 1, 1, 1, 0, 1))),
            (8, pf_rig.select(99, 1, 1)),
            (10, pf_rig.macs(99, "02:00:00:00:00:01")),
            (15, pf_rig.select(99, 0, 0)),
            (24, pf_rig.rss_lut(99, bytes(64))),
        ):
            assert pf.status(opcode, payload) == PARAM[card]
        assert all("vsi_id 99" in text for text in pf.violations)
        assert len(pf.violations) == 6


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("trusted", [False, True])
def test_promiscuity_of_a_wrong_vsi(card: str, trusted: bool) -> None:
    """i40e lies to an untrusted VF before it looks at the VSI."""
    with rig(card, trusted=trusted) as pf:
        pf.negotiate()
        lies = card != "e810" and not trusted
        assert pf.status(14, pf_rig.promisc(99, 3)) == (0 if lies else PARAM[card])
        assert not pf.config.promisc_unicast


def test_rxdids_on_offer() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.ask(44) == (0, bytes.fromhex("0600ff0300000000"))


# ---- REQUEST_QUEUES


def _request(pf: Rig, n: int) -> list[tuple[int, int, bytes]]:
    return pf.say(29, struct.pack("<H", n))


@pytest.mark.parametrize("card", CARDS)
def test_request_queues_granted_is_a_reset_and_no_answer(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert _request(pf, 8) == [(EVENT, 0, pf_rig.RESET_IMPENDING)]
        pf.clock.advance(1000)
        assert pf.hardware[0].begun == 1
        assert pf.hardware[0].rstat[-3:] == [0, 1, 2]
        reply = pf.ask(3, struct.pack("<I", LINUX_CAPS))[1]  # VERSION is remembered
        assert struct.unpack_from("<HHH", reply) == (1, 8, pf.personality.max_vectors)
        pf.pf.flr(0)
        pf.clock.advance(1000)
        reply = pf.negotiate()
        assert struct.unpack_from("<H", reply, 2) == (8,)  # both keep the number


@pytest.mark.parametrize("card", CARDS)
def test_request_queues_refused_says_what_would_work(card: str) -> None:
    with rig(card, queue_pool=6, num_queue_pairs=4) as pf:
        pf.negotiate()
        assert _request(pf, 17) == [(29, 0, struct.pack("<H", 16))]
        assert _request(pf, 8) == [(29, 0, struct.pack("<H", 6))]
        assert pf.hardware[0].begun == 0
        assert pf.violations == []
        assert len(pf.notes) == 2


def test_request_queues_oddities() -> None:
    with rig("x710", fragmented=True) as pf:
        pf.negotiate()
        assert _request(pf, 8) == [(29, 0, struct.pack("<H", 4))]
    with rig("x710") as pf:
        assert _request(pf, 8) == [(17, 0, pf_rig.RESET_IMPENDING)]  # before GET_VF_RESOURCES
        assert len(pf.violations) == 1
    with rig("e810") as pf:
        pf.negotiate()
        assert _request(pf, 0) == [(29, 0, struct.pack("<H", 0))]
