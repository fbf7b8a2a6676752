# SPDX-License-Identifier: BSD-3-Clause
"""The administrator's requests and the mishaps he may order."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from iavfio.errors import ConfigError
from iavfio.softvf.personality import named
from iavfio.softvf.pf.admin import COMMANDS
from iavfio.softvf.pf.faults import KINDS
from iavfio.softvf.pf.hardware_faults import FAULTS
from iavfio.softvf.pf.requests import FAULT_FORMS, FORMS
from tests.softvf.pf.pf_rig import (
    EVENT,
    LINUX_CAPS,
    Rig,
    config_queues,
    macs,
    pair,
    promisc,
    rig,
    select,
)
from tests.softvf.pf.wrong_requests import WRONG

VERSION = struct.pack("<II", 1, 1)


def link_event(speed: int, up: int) -> tuple[int, int, bytes]:
    return EVENT, 0, struct.pack("<IIB3xI", 1, speed, up, 0)


def test_link_of_one_vf() -> None:
    with rig("e810", vfs=2) as pf:
        pf.negotiate()
        hw = pf.hardware[0]
        pf.pf.control({"command": "link", "vf": 0, "state": "enable"})
        assert hw.take()[-1] == link_event(0, 0)  # ice: no queue is enabled yet
        start_one_queue(pf)
        for state, up, speed in (("disable", 0, 0), ("enable", 1, 100000), ("auto", 1, 100000)):
            hw.take()
            assert pf.pf.control({"command": "link", "vf": 0, "state": state}) == {
                "link_up": bool(up)
            }
            assert hw.take() == [link_event(speed, up)]
            assert pf.config.link_up is bool(up)
        assert pf.hardware[1].sent == []


def start_one_queue(pf: Rig) -> None:
    assert pf.status(6, config_queues(pf.vsi, pair(pf.vsi, 0))) == 0
    assert pf.status(8, select(pf.vsi, 1, 1)) == 0


@pytest.mark.parametrize("card", ("e810", "x710", "x722"))
def test_linux_7_spares_a_vf_resets(card: str) -> None:
    """Trust resets a promiscuous VF that loses it, and a link that is set again changes nothing."""
    with rig(card, pf_kernel="7.x") as pf:
        pf.negotiate()
        start_one_queue(pf)
        hw = pf.hardware[0]
        for on in (True, False):
            pf.pf.control({"command": "trust", "vf": 0, "on": on})
        if card != "e810":
            pf.pf.control({"command": "link", "vf": 0, "state": "auto"})
        pf.clock.advance(500)
        assert (hw.begun, hw.take()) == (0, [])
        pf.pf.control({"command": "trust", "vf": 0, "on": True})
        assert pf.status(14, promisc(pf.vsi, 1)) == 0
        assert pf.pf.vfs[0].promisc_unicast
        pf.pf.control({"command": "trust", "vf": 0, "on": False})
        pf.clock.advance(500)
        assert hw.begun == 1
        assert not pf.pf.vfs[0].promisc_unicast


@pytest.mark.parametrize("end", ("00", "03", "0e"))
def test_ice_of_linux_7_keeps_lldp_from_an_untrusted_vf(end: str) -> None:
    """And a VF that loses its trust loses what it heard of LLDP, by a reset."""
    with rig("e810", pf_kernel="7.x") as pf:
        pf.negotiate()
        lldp = macs(pf.vsi, f"01:80:c2:00:00:{end}")
        assert pf.status(10, lldp) == -53
        assert pf.status(10, macs(pf.vsi, "01:80:c2:00:00:01")) == 0
        pf.pf.control({"command": "trust", "vf": 0, "on": True})
        assert pf.status(10, lldp) == 0
        pf.pf.control({"command": "trust", "vf": 0, "on": False})
        pf.clock.advance(500)
        assert pf.hardware[0].begun == 1
        assert pf.pf.vfs[0].macs == []


@pytest.mark.parametrize(
    ("card", "asked", "in_force"),
    [
        ("e810", 7, 7),
        ("e810", 100_000, 100_000),
        ("x710", 1, 50),
        ("x710", 99, 50),
        ("x710", 100, 100),
        ("x722", 1049, 1000),
        ("x710", 10_000, 10_000),
        ("x710", 0, 0),
        ("e810", 0, 0),
    ],
)
def test_the_rate_that_the_host_gives_a_vf(card: str, asked: int, in_force: int) -> None:
    """i40e's credits are of 50 Mbit/s (docs/spec/pf-dialects.md 5). No VF is reset or told."""
    with rig(card, vfs=2) as pf:
        pf.negotiate()
        pf.hardware[0].take()
        request = {"command": "rate", "vf": 0, "mbps": asked}
        assert pf.pf.control(request) == {"in_force": in_force}
        snapshot = pf.pf.control({"command": "snapshot", "vf": 0})["snapshot"]
        assert snapshot["rate"] == asked
        assert pf.plane.config[0].rate == in_force
        assert pf.hardware[0].take() == []
        pf.pf.control({"command": "reset", "vf": 0})
        pf.clock.advance(1000)
        pf.negotiate()
        assert pf.plane.config[0].rate == in_force, "it is the host's"


def test_the_delay_of_what_a_vf_sends() -> None:
    """The option is of all VFs from the start, the command of one. No VF is reset or told."""
    with rig("e810", vfs=2, delay_us=250) as pf:
        pf.negotiate()
        pf.hardware[0].take()
        assert [config.delay_us for _, config in sorted(pf.plane.config.items())] == [250, 250]
        assert pf.pf.control({"command": "delay", "vf": 0, "us": 1_000_000}) == {}
        assert pf.pf.control({"command": "snapshot", "vf": 0})["snapshot"]["delay_us"] == 1_000_000
        assert pf.hardware[0].take() == []
        for wrong in (-1, 1_000_001, 2.5, "250", None):
            with pytest.raises(ConfigError, match='"us" must be'):
                pf.pf.control({"command": "delay", "vf": 0, "us": wrong})
        assert (pf.plane.config[0].delay_us, pf.plane.config[1].delay_us) == (1_000_000, 250)


@pytest.mark.parametrize(("card", "most"), [("x710", 10_000), ("e810", 100_000)])
def test_a_rate_above_the_speed_of_the_link_is_refused(card: str, most: int) -> None:
    with rig(card) as pf:
        pf.pf.control({"command": "rate", "vf": 0, "mbps": 500})
        with pytest.raises(ConfigError, match="above the link's speed"):
            pf.pf.control({"command": "rate", "vf": 0, "mbps": most + 1})
        assert pf.pf.control({"command": "snapshot", "vf": 0})["snapshot"]["rate"] == 500


def test_the_wire() -> None:
    with rig("e810", vfs=2) as pf:
        pf.negotiate()
        start_one_queue(pf)
        pf.pf.control({"command": "link", "vf": 1, "state": "enable"})
        pf.hardware[0].take()
        pf.pf.control({"command": "link", "state": "down"})
        assert pf.hardware[0].take() == [link_event(0, 0)]
        # ice tells VFs that are not active, too: down, since none of their queues is enabled.
        assert pf.hardware[1].take() == [link_event(0, 0)] * 2
        assert [pf.plane.config[vf].link_up for vf in (0, 1)] == [False, True]
        pf.pf.control({"command": "link", "state": "up", "speed": 25000})
        assert pf.hardware[0].take() == [link_event(25000, 1)]
        pf.pf.control({"command": "link", "speed": 40000})
        assert pf.hardware[0].take() == [link_event(40000, 1)]


@pytest.mark.parametrize("request_", WRONG)
def test_requests_that_cannot_be_change_nothing(request_: dict[str, Any]) -> None:
    with rig("e810") as pf:
        pf.negotiate()
        before = pf.snapshot()
        with pytest.raises(ConfigError):
            pf.pf.control(request_)
        assert pf.snapshot() == before
        assert pf.clock.waiting == 0


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (
            {"command": "vlan", "vf": 0, "vlan": 100, "qos": 3},
            ("'vlan' has no argument 'qos'", "no priority", "it takes vf, vlan"),
        ),
        (
            {"command": "link", "vf": 0, "state": "up", "speed": 25000},
            ("'link' takes (vf, state) or (state, speed)", "", ""),
        ),
        (
            {"command": "pf_reset", "kind": "pfr", "vf": 0, "b": 1},
            ("has no argument 'b', 'vf'", "", "it takes kind, latency_ms, notify"),
        ),
    ],
)
def test_an_argument_that_is_not_read_is_refused_with_the_reason(
    request_: dict[str, Any], said: tuple[str, str, str]
) -> None:
    with rig("e810") as pf, pytest.raises(ConfigError) as refused:
        pf.pf.control(request_)
    assert said[0] in str(refused.value) and said[1] in str(refused.value)
    assert said[2] in refused.value.remedy


def test_each_command_says_what_it_takes() -> None:
    assert FORMS.keys() | {"fault"} == COMMANDS.keys()
    assert {*FAULT_FORMS} == {*KINDS, *FAULTS, "reset", "clear"}


def test_a_snapshot_is_json() -> None:
    for card in ("e810", "x710"):
        with rig(card) as pf:
            pf.negotiate()
            told = json.loads(json.dumps(pf.pf.control({"command": "snapshot", "vf": 0})))
            assert told["snapshot"] == pf.snapshot()
            assert told["snapshot"]["state"] == "active"


def test_unsolicited_messages() -> None:
    with rig("e810") as pf:
        pf.pf.control({"command": "send", "vf": 0, "opcode": 8, "retval": -5, "payload": "00ff"})
        assert pf.hardware[0].take() == [(8, -5, b"\x00\xff")]


@pytest.mark.parametrize(
    ("fault", "answers"),
    [
        ({"kind": "drop"}, []),
        ({"kind": "lose"}, []),
        ({"kind": "duplicate"}, [(1, 0, VERSION)] * 2),
        ({"kind": "truncate", "value": 3}, [(1, 0, VERSION[:5])]),
        ({"kind": "truncate", "value": 30}, [(1, 0, b"")]),
        ({"kind": "extend", "value": 2}, [(1, 0, VERSION + b"\0\0")]),
        ({"kind": "corrupt", "value": 0}, [(1, 0, b"\xfe" + VERSION[1:])]),
        ({"kind": "corrupt", "value": 8}, [(1, 0, VERSION)]),
        ({"kind": "retval", "value": -18}, [(1, -18, b"")]),
        ({"kind": "opcode", "value": 3}, [(3, 0, VERSION)]),
    ],
)
def test_faults(fault: dict[str, Any], answers: list[tuple[int, int, bytes]]) -> None:
    with rig("e810") as pf:
        pf.pf.control({"command": "fault", "vf": 0, "opcode": 1, **fault})
        assert pf.snapshot()["faults"]
        assert pf.say(2) == []  # another opcode: not its turn
        pf.clock.advance(100)
        assert pf.say(1, VERSION) == answers
        assert pf.say(1, VERSION) == [(1, 0, VERSION)]
        assert pf.snapshot()["faults"] == []


def test_hardware_faults() -> None:
    with rig("e810", vfs=2) as pf:
        pf.negotiate()
        stall = {"command": "fault", "vf": 0, "kind": "tx_stall"}
        pf.pf.control({**stall, "queue": 3})
        told = pf.pf.control({**stall, "queue": 0})
        assert told == {"waiting": ["tx_stall, queue 0", "tx_stall, queue 3"]}
        assert pf.pf.control({**stall, "queue": 3, "on": False})["waiting"] == ["tx_stall, queue 0"]
        assert pf.pf.snapshot(1)["faults"] == []
        pf.pf.control({"command": "fault", "vf": 0, "kind": "clear"})
        assert pf.snapshot()["faults"] == []
        pf.pf.control({**stall, "queue": 1})
        pf.pf.control({"command": "reset", "vf": 0})
        pf.clock.advance(1000)
        assert pf.snapshot()["faults"] == [], "a reset ends the stall"
        pf.pf.control(
            {"command": "fault", "vf": 1, "kind": "aq_error", "queue": "arq", "error": "vfe"}
        )
        assert pf.hardware[1].errors == [("arq", "vfe")]


def test_tunnels_of_the_host() -> None:
    with rig("e810", udp_tunnel="vxlan:4789,geneve:6081") as pf:
        command = {"command": "udp_tunnel", "kind": "vxlan"}
        told = pf.pf.control({**command, "port": 8472})
        assert told == {"tunnels": {"4789": "vxlan", "6081": "geneve", "8472": "vxlan"}}
        told = pf.pf.control({**command, "port": 4789, "on": False})
        assert told == {"tunnels": {"6081": "geneve", "8472": "vxlan"}}
        for port in range(1, 15):
            pf.pf.control({**command, "port": port})
        with pytest.raises(ConfigError, match="16 tunnels"):
            pf.pf.control({**command, "port": 15})
        assert len(pf.pf.control({**command, "port": 14})["tunnels"]) == 16


def test_delayed_answers() -> None:
    with rig("e810") as pf:
        pf.pf.control({"command": "fault", "vf": 0, "kind": "delay", "value": 50, "count": 2})
        assert pf.say(1, VERSION) == []
        pf.clock.advance(49)
        assert pf.hardware[0].sent == []
        pf.clock.advance(2)
        assert pf.hardware[0].sent == [(1, 0, VERSION)]


def test_faults_can_be_taken_back_and_are_bounded() -> None:
    with rig("e810", vfs=2) as pf:
        for _ in range(64):
            pf.pf.control({"command": "fault", "vf": 0, "kind": "drop", "count": 1000000})
        with pytest.raises(ConfigError):
            pf.pf.control({"command": "fault", "vf": 1, "kind": "drop"})
        assert pf.say(1, VERSION) == []
        assert pf.say(1, VERSION, vf=1) == [(1, 0, VERSION)]
        pf.pf.control({"command": "fault", "vf": 0, "kind": "clear"})
        assert pf.say(1, VERSION) == [(1, 0, VERSION)]


def test_the_first_message_of_an_opcode_is_lost_by_option() -> None:
    with rig("x710", drop_first=3) as pf:
        pf.say(1, VERSION)
        word = struct.pack("<I", LINUX_CAPS)
        assert pf.say(3, word) == []
        assert pf.status(3, word) == 0


def test_vfs_do_not_see_each_other() -> None:
    with rig("x710", vfs=3) as pf:
        for vf in range(3):
            reply = pf.negotiate(LINUX_CAPS, vf)
            assert struct.unpack_from("<H", reply, 20) == (10 + vf,)
            assert reply[35] == vf
        assert pf.status(15, select(11, 0, 0), vf=1) == 0
        assert pf.status(15, select(11, 0, 0), vf=2) == -22
        pf.pf.control({"command": "reset", "vf": 1})
        pf.clock.advance(1000)
        assert [hw.begun for hw in pf.hardware] == [0, 1, 0]


@pytest.mark.parametrize("card", ["x710", "x722"])
@pytest.mark.parametrize("on", [True, False])
def test_an_mfp_port_knows_no_trust(card: str, on: bool) -> None:
    """i40e_ndo_set_vf_trust looks at the port's mode before it looks at what is asked."""
    with rig(card, mfp=True) as pf, pytest.raises(ConfigError, match="refuses to set trust"):
        pf.pf.control({"command": "trust", "vf": 0, "on": on})
    with pytest.raises(ConfigError, match="leave out trusted=on or mfp=on"):
        named(card, mfp=True, trusted=True)
    assert named("e810", mfp=True, trusted=True).trusted  # ice has no such mode
