# SPDX-License-Identifier: BSD-3-Clause
"""CONFIG_VSI_QUEUES, ENABLE_QUEUES, DISABLE_QUEUES: what each PF checks."""

from __future__ import annotations

import struct

import pytest

from tests.softvf.pf.pf_rig import (
    CARDS,
    EVENT,
    I40E,
    LINK_UP_ADV,
    LINUX_CAPS,
    PARAM,
    config_queues,
    configure,
    enable,
    map_all,
    pair,
    rig,
    running,
    select,
)


@pytest.mark.parametrize("card", CARDS)
def test_contexts_reach_the_data_plane(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        context = {"tx_len": 256, "rx_len": 1024, "rxdid": 22, "buffer": 2048, "frame": 9000}
        assert configure(pf, 0, 2, **context) == 0
        calls = pf.plane.calls
        rxdid = 22 if card == "e810" else 1  # i40e has legacy descriptors only
        for queue in (0, 2):
            assert ("configure_tx", 0, queue, 0x10000, 256) in calls
            assert ("configure_rx", 0, queue, 0x20000, 1024, 2048, 9000, rxdid, False) in calls
        assert pf.violations == []


def test_without_the_flex_capability_rxdid_is_padding() -> None:
    with rig("e810") as pf:
        pf.negotiate(1)
        assert configure(pf, 0, rxdid=0) == 0
        assert pf.plane.calls[-1][7] == 1 or pf.plane.calls[-2][7] == 1


# docs/spec/reliability.md D8
@pytest.mark.parametrize(
    "wrong",
    [
        {"headwb": 1},
        {"tx_len": 32},
        {"tx_len": 100},
        {"tx_len": 8192},
        {"rx_len": 48},
        {"rx_len": 8192},
        {"rx_queue": 1},
        {"rx_vsi": 7},
    ],
)
def test_what_ice_refuses(wrong: dict[str, int]) -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert configure(pf, 0, **wrong) == -5
        assert len(pf.violations) == 1
        assert not [c for c in pf.plane.calls if c[0].startswith("configure")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"buffer": 64},
        {"buffer": 16384},
        {"frame": 63},
        {"frame": 9729},
        {"rxdid": 0},
        {"rxdid": 3},
        {"rxdid": 26},
        {"rxdid": 200},
    ],
)
def test_what_ice_refuses_after_it_has_started_the_send_queue(wrong: dict[str, int]) -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert configure(pf, 0, **wrong) == -5
        assert len(pf.violations) == 1
        context = ("disable", "configure_rx") if "rxdid" in wrong else ()  # its format comes last
        assert [c[0] for c in pf.plane.calls if c[0] != "rx_polling"] == [
            *("disable", "configure_tx", "enable"),
            *context,
            *("disable", "disable"),
        ]


def test_ice_knows_its_rxdids_since_another_vf_or_a_new_kernel_asked() -> None:
    with rig("e810") as pf:
        pf.say(1, struct.pack("<II", 1, 1))
        pf.say(3, struct.pack("<I", LINUX_CAPS))
        assert configure(pf, 0, rxdid=9) == -5
        assert configure(pf, 0, rxdid=1) == 0


def test_ice_refuses_every_rxdid_before_get_supported_rxdids() -> None:
    with rig("e810", rxdids_unknown=True) as pf:
        pf.say(1, struct.pack("<II", 1, 1))
        pf.say(3, struct.pack("<I", LINUX_CAPS))
        assert configure(pf, 0, rxdid=1) == -5
        assert pf.status(44) == 0
        assert configure(pf, 0, rxdid=1) == 0
        pf.pf.flr(0)
        pf.clock.advance(1000)
        pf.say(3, struct.pack("<I", LINUX_CAPS))
        assert configure(pf, 0, rxdid=1) == 0  # the PF remembers it, for all its VFs


# docs/spec/reliability.md D8
@pytest.mark.parametrize("card", I40E)
@pytest.mark.parametrize(
    "wrong",
    [
        {"rx_len": 48},
        {"buffer": 16257},
        {"frame": 63},
        {"frame": 16384},
        {"split": 1, "hdr_size": 1985},
        {"rx_queue": 1},
        {"rx_vsi": 7},
    ],
)
def test_what_i40e_refuses(card: str, wrong: dict[str, int]) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert configure(pf, 0, **wrong) == -22
        assert len(pf.violations) == 1
        assert not [c for c in pf.plane.calls if c[0].startswith("configure")]


@pytest.mark.parametrize("card", I40E)
@pytest.mark.parametrize("length", [100, 8168])
def test_i40e_refuses_a_send_ring_after_it_has_configured_the_other_half(
    card: str, length: int
) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert configure(pf, 0, tx_len=length) == -22
        assert [c[0] for c in pf.plane.calls if "configure" in c[0]] == ["configure_rx"]


@pytest.mark.parametrize(
    ("card", "right"),
    [
        ("e810", {"tx_len": 8160, "rx_len": 8160, "frame": 9728, "buffer": 16256}),
        ("e810", {"tx_len": 64, "rx_len": 64, "frame": 64, "buffer": 128, "rxdid": 25}),
        ("x710", {"tx_len": 8, "rx_len": 32, "frame": 16383, "headwb": 1}),
        ("x710", {"tx_len": 8160, "rx_len": 8160, "rxdid": 77, "flags": 1, "crc": 1}),
        ("x722", {"tx_len": 4096, "rx_len": 4096, "hdr_size": 9999}),
    ],
)
def test_limits_that_still_pass(card: str, right: dict[str, int]) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert configure(pf, 0, **right) == 0
        assert pf.violations == []


def test_x722_rings_end_at_4096() -> None:
    with rig("x722") as pf:
        pf.negotiate()
        assert configure(pf, 0, rx_len=4128) == -22


# docs/spec/reliability.md D8
@pytest.mark.parametrize("card", CARDS)
def test_queues_that_the_vf_does_not_have(card: str) -> None:
    with rig(card, num_queue_pairs=4) as pf:
        pf.negotiate()
        assert configure(pf, 4) == PARAM[card]
        # i40e counts against 16, the most that any VF has.
        assert configure(pf, 0, 1, 2, 3, 3) == (PARAM[card] if card == "e810" else 0)
        assert configure(pf, *[0] * 17) == PARAM[card]
        assert configure(pf, 0, 1, 2, 3) == 0


def test_on_i40e_pairs_before_a_bad_one_are_configured() -> None:
    with rig("x710") as pf:
        pf.negotiate()
        message = config_queues(10, pair(10, 0), pair(10, 1, frame=0), pair(10, 2))
        assert pf.status(6, message) == -22
        calls = [c[:3] for c in pf.plane.calls if c[0].startswith("configure")]
        assert calls == [("configure_rx", 0, 0), ("configure_tx", 0, 0)]


@pytest.mark.parametrize("wrong_at", [0, 1, 2])
def test_on_ice_a_refusal_disables_the_queues_down_from_the_refused_position(wrong_at: int) -> None:
    with rig("e810") as pf:
        pf.negotiate()
        running(pf, 4)
        pf.plane.calls.clear()
        pairs = [pair(1, q, frame=0 if q == wrong_at else 1522) for q in range(4)]
        assert pf.status(6, config_queues(1, *pairs)) == -5
        state = pf.snapshot()["queues"]
        left = list(range(wrong_at + 1, 4))
        assert state["enabled_rx"] == state["enabled_tx"] == left
        stopped = {(queue, rx) for name, _, queue, *more in pf.plane.calls
                   if name == "disable" for rx in more}  # fmt: skip
        assert stopped >= {(q, rx) for q in range(wrong_at + 1) for rx in (True, False)}
        assert not any(queue in left for queue, _ in stopped)
        # What was disabled works again once it was disabled in the VF's own name.
        assert pf.status(9, select(1, 0xF, 0xF)) == 0
        assert configure(pf, 0, 1, 2, 3) == 0
        assert enable(pf, 0xF, 0xF)[0][1] == 0
        assert pf.snapshot()["queues"]["enabled_rx"] == [0, 1, 2, 3]


def test_on_ice_the_position_in_the_list_counts_and_not_the_queues_number() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        running(pf, 4)
        assert pf.status(6, config_queues(1, pair(1, 3), pair(1, 2, frame=0))) == -5
        state = pf.snapshot()["queues"]
        assert state["enabled_rx"] == [2, 3]


def test_on_ice_a_queue_that_a_refusal_stopped_stays_dead_until_it_is_disabled() -> None:
    """ice takes it for enabled all the while: ENABLE_QUEUES succeeds and does nothing."""
    with rig("e810") as pf:
        pf.negotiate()
        running(pf, 2)
        assert pf.status(6, config_queues(1, pair(1, 0, frame=0))) == -5

        def started(*messages: tuple[int, bytes]) -> list[int]:
            pf.plane.calls.clear()
            assert [pf.status(*message) for message in messages] == [0] * len(messages)
            return [call[2] for call in pf.plane.calls if call[0] == "enable" and call[3]]

        anew, enable_both = (6, config_queues(1, pair(1, 0))), (8, select(1, 3, 3))
        assert started(enable_both) == []
        assert any("0x1 were stopped" in text for text in pf.violations)
        assert started(anew, enable_both) == []
        assert pf.snapshot()["queues"]["enabled_rx"] == [1]
        assert started((9, select(1, 1, 1)), anew, enable_both) == [0]
        assert pf.snapshot()["queues"]["enabled_rx"] == [0, 1]


def test_on_ice_a_message_that_is_refused_as_a_whole_disables_nothing() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        before = running(pf, 4)
        assert pf.status(6, config_queues(99, pair(99, 0, frame=0))) == -5
        assert pf.status(6, config_queues(1, *(pair(1, 0) for _ in range(17)))) == -5
        assert pf.snapshot()["queues"] == before


@pytest.mark.parametrize("card", I40E)
def test_on_i40e_a_refusal_leaves_the_queues_as_they_were(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        before = running(pf, 4)
        message = config_queues(pf.vsi, pair(pf.vsi, 0), pair(pf.vsi, 1, frame=0))
        assert pf.status(6, message) == PARAM[card]
        assert pf.snapshot()["queues"] == before


def test_the_frame_limit_of_a_port_vlan_is_four_less() -> None:
    with rig("e810") as pf:
        pf.pf.control({"command": "vlan", "vf": 0, "vlan": 7})
        pf.clock.advance(1000)
        pf.negotiate()
        assert configure(pf, 0, frame=9725) == -5
        assert configure(pf, 0, frame=9724) == 0


def test_kept_crc() -> None:
    with rig("e810") as pf:
        pf.negotiate(1)
        assert configure(pf, 0, crc=1) == -5  # capability not granted
    with rig("e810") as pf:
        pf.negotiate()
        assert configure(pf, 0, crc=1) == 0
        assert ("configure_rx", 0, 0, 0x20000, 512, 2048, 1522, 1, True) in pf.plane.calls


@pytest.mark.parametrize(
    ("card", "size", "violations"), [("e810", 2048, 3), ("x710", 1920, 2), ("x722", 1920, 2)]
)
def test_what_unaligned_rings_and_odd_buffers_become(card: str, size: int, violations: int) -> None:
    """Rings lose their low bits. i40e rounds buffers down; ice rounds up, past the buffer's end."""
    with rig(card) as pf:
        pf.negotiate()
        assert configure(pf, 0, tx_ring=0x10040, rx_ring=0x20001, buffer=2000) == 0
        assert ("configure_tx", 0, 0, 0x10000, 512) in pf.plane.calls
        assert ("configure_rx", 0, 0, 0x20000, 512, size, 1522, 1, False) in pf.plane.calls
        assert len(pf.violations) == violations
        assert len(pf.notes) == 3 - violations
        assert f"databuffer_size 2000 is taken as {size}" in " ".join(pf.violations + pf.notes)


@pytest.mark.parametrize(
    ("card", "vlan", "buffer", "longest"),
    [
        ("e810", 0, 2048, 9000),
        ("e810", 0, 1024, 5120),  # five buffers
        ("e810", 0, 1000, 5000),
        ("e810", 100, 2048, 9004),
        ("e810", 100, 1024, 5120),
        ("x710", 0, 1024, 9000),
        ("x710", 100, 1024, 9004),
    ],
)
def test_the_longest_frame_of_a_queue(card: str, vlan: int, buffer: int, longest: int) -> None:
    """The port VLAN's tag is added; ice takes no more than five buffers hold."""
    with rig(card) as pf:
        pf.pf.control({"command": "vlan", "vf": 0, "vlan": vlan})
        pf.clock.advance(1000)
        pf.negotiate()
        assert configure(pf, 0, buffer=buffer, frame=9000) == 0
        (context,) = [call for call in pf.plane.calls if call[0] == "configure_rx"]
        assert context[6] == longest


@pytest.mark.parametrize(("frame", "longest"), [(16379, 16383), (16380, 0), (16383, 3)])
def test_a_frame_too_long_for_i40es_context(frame: int, longest: int) -> None:
    """What a port VLAN adds may overflow its 14 bits; the VF is not told."""
    with rig("x710") as pf:
        pf.pf.control({"command": "vlan", "vf": 0, "vlan": 100})
        pf.clock.advance(1000)
        pf.negotiate()
        assert configure(pf, 0, frame=frame) == 0
        (context,) = [call for call in pf.plane.calls if call[0] == "configure_rx"]
        assert context[6] == longest
        assert any("never receive" in text for text in pf.violations) == (longest < frame)


@pytest.mark.parametrize(
    ("queues", "left"), [((), 0), ((0,), 0b1110), ((3,), 0b1110), ((0, 1, 2, 3, 0), 0)]
)
def test_a_disabled_link_stops_as_many_queues_as_were_configured(
    queues: tuple[int, ...], left: int
) -> None:
    """i40e: as many as the last CONFIG_VSI_QUEUES had entries, and none of a neighbour's here."""
    with rig("x710", vfs=2) as pf:
        pf.negotiate()
        pf.negotiate(vf=1)
        for vf, vsi in ((0, 10), (1, 11)):
            pairs = [pair(vsi, queue) for queue in range(4)]
            assert pf.status(6, config_queues(vsi, *pairs), vf) == 0
            assert pf.status(8, select(vsi, 15, 15), vf) == 0
        if queues:
            assert configure(pf, *queues) == 0
        pf.pf.control({"command": "link", "vf": 0, "state": "disable"})
        first, second = pf.pf.vfs
        assert (first.rx_enabled, first.tx_enabled) == (left, left)
        assert (second.rx_enabled, second.tx_enabled) == (15, 15)


@pytest.mark.parametrize("card", CARDS)
def test_a_queue_without_buffer_size_never_starts(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert configure(pf, 0, buffer=0) == 0
        assert "never receive" in pf.violations[0]
        assert enable(pf, 1, 0)[0][1] == 0
        assert not [c for c in pf.plane.calls if c[0] == "configure_rx"]


def test_ring_length_0() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert configure(pf, 0) == 0
        pf.plane.calls.clear()
        assert configure(pf, 0, tx_len=0, rx_len=0, frame=0) == 0
        assert pf.plane.calls == []
    with rig("x710") as pf:
        pf.negotiate()
        assert configure(pf, 0, tx_len=0, rx_len=0, frame=0) == -22  # checked all the same
        assert configure(pf, 0, tx_len=0, rx_len=0) == 0
        assert enable(pf, 1, 1)[0][1] == 0
        assert len(pf.violations) == 3  # the refusal, and both queues stay dead
        assert not [c for c in pf.plane.calls if c[0] == "enable"]


@pytest.mark.parametrize("card", CARDS)
def test_a_running_queue_that_is_configured_again(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        configure(pf, 0)
        map_all(pf)
        enable(pf, 1, 1)
        assert configure(pf, 0, rx_len=1024) == 0
        assert len(pf.violations) == 2
        assert pf.plane.calls[-1] == ("enable", 0, 0, card == "e810")  # ice: the send queue first


# ---- on and off


@pytest.mark.parametrize("card", CARDS)
def test_enable_then_disable(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        configure(pf, 0, 1)
        map_all(pf)
        assert enable(pf, 3, 3) == [(8, 0, b""), (EVENT, 0, LINK_UP_ADV[card])]
        told = [c for c in pf.plane.calls if c[0] == "enable"]
        assert sorted(told) == [("enable", 0, q, rx) for q in (0, 1) for rx in (False, True)]
        assert pf.snapshot()["queues"]["enabled_rx"] == [0, 1]
        assert pf.status(9, select(pf.vsi, 1, 1)) == 0
        assert pf.plane.calls[-2:] == [("disable", 0, 0, True), ("disable", 0, 0, False)]
        assert pf.snapshot()["queues"]["enabled_rx"] == [1]
        assert pf.violations == [] and pf.notes == []


def test_ice_starts_a_send_queue_at_configuration() -> None:
    for card, at_config in (("e810", True), ("x710", False)):
        with rig(card) as pf:
            pf.negotiate()
            configure(pf, 0)
            assert (("enable", 0, 0, False) in pf.plane.calls) is at_config


def test_on_ice_a_disabled_send_queue_stays_dead_until_configured_again() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        configure(pf, 0)
        map_all(pf)
        enable(pf, 1, 1)
        pf.status(9, select(1, 1, 1))
        pf.plane.calls.clear()
        assert enable(pf, 1, 1)[0] == (8, 0, b"")
        assert pf.plane.calls == [("enable", 0, 0, True)]
        assert "stays dead" in pf.violations[0]


@pytest.mark.parametrize("card", CARDS)
def test_selections_that_cannot_be_still_bring_the_link_event(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        configure(pf, 0)
        for rx, tx in ((0, 0), (1 << 16, 0), (0, 1 << 31)):
            sent = enable(pf, rx, tx)
            assert [each[:2] for each in sent] == [(8, PARAM[card]), (EVENT, 0)]
            assert pf.status(9, select(pf.vsi, rx, tx)) == PARAM[card]
        assert len(pf.violations) == 6


def test_queues_beyond_the_vf_are_ices_concern_only() -> None:
    with rig("e810", num_queue_pairs=4) as pf:
        pf.negotiate()
        assert pf.status(9, select(1, 0x10, 0)) == -5
    with rig("x710") as pf:
        pf.negotiate()
        assert pf.status(9, select(10, 0x10, 0)) == 0


@pytest.mark.parametrize("card", CARDS)
def test_a_receive_queue_that_was_never_configured(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert enable(pf, 1, 0)[0][1] == 0
        assert "never configured" in pf.violations[0]
        assert not [c for c in pf.plane.calls if c[0] == "enable"]


@pytest.mark.parametrize("card", I40E)
def test_i40e_enables_queues_of_others_with_success(card: str) -> None:
    with rig(card, num_queue_pairs=4) as pf:
        pf.negotiate()
        assert configure(pf, 0) == 0
        assert enable(pf, 0xFFFF, 0xFFFF)[0][1] == 0
        assert pf.snapshot()["queues"]["enabled_rx"] == [0, 1, 2, 3]
        assert [c[2:] for c in pf.plane.calls if c[0] == "enable"] == [(0, True), (0, False)]


def test_link_disabled_by_the_administrator() -> None:
    with rig("x710") as pf:
        pf.negotiate()
        configure(pf, 0)
        pf.pf.control({"command": "link", "vf": 0, "state": "disable"})
        sent = enable(pf, 1, 1)
        assert sent[0] == (8, -1, b"")
        assert sent[1][2][8] == 0
        assert pf.violations == []


def test_on_ice_a_send_queue_that_is_configured_anew_does_not_count_as_enabled() -> None:
    """It runs all the same; what shows is the link, which GET_VF_RESOURCES tells as down."""
    with rig("e810") as pf:
        pf.negotiate()
        assert configure(pf, 0) == 0
        assert enable(pf, 0, 1)[0][1] == 0
        assert configure(pf, 0) == 0
        assert pf.snapshot()["queues"]["enabled_tx"] == []
        _, event = pf.say(3, struct.pack("<I", LINUX_CAPS))
        assert event == (17, 0, bytes([1]) + bytes(15)), "LINK_CHANGE, down"
