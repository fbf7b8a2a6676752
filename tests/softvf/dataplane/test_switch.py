# SPDX-License-Identifier: BSD-3-Clause
"""The switch between VFs and its uplinks (docs/design.md 9, docs/spec/descriptors.md 15)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.softvf.dataplane.plane_rig import Vf, mac, rig

BROADCAST = b"\xff" * 6
GROUP = b"\x01\x00\x5e\x00\x00\x05"


def frame(
    to: bytes, sender: int, text: bytes = b"", vlan: int | None = None, tpid: int = 0x8100
) -> bytes:
    tag = b"" if vlan is None else tpid.to_bytes(2, "big") + vlan.to_bytes(2, "big")
    return (to + mac(sender) + tag + b"\x88\xb5" + text).ljust(64, b".")


def empty(*vfs: Vf) -> bool:
    return all(vf.filled() == 0 for vf in vfs)


def test_unicast_goes_to_its_owner_only() -> None:
    with rig(vfs=3) as r:
        for vf in r.vfs:
            vf.open()
        a, b, c = r.vfs
        a.send(frame(mac(2), 1), frame(mac(3), 1), frame(mac(9), 1), frame(mac(1), 1))
        assert b.take().data == frame(mac(2), 1)
        assert c.take().data == frame(mac(3), 1)
        assert a.take().data == frame(mac(1), 1), "comes back from the wire"
        a.settle()
        assert empty(a, b, c)


def test_further_addresses_and_promiscuous_vfs() -> None:
    with rig(vfs=3) as r:
        a, b, c = r.vfs
        a.open(macs=(mac(0x21), mac(0x22)))
        b.open()
        c.open(promisc_unicast=True)
        b.send(frame(mac(0x22), 2), frame(mac(0x77), 2), frame(GROUP, 2))
        assert a.take().data == frame(mac(0x22), 2)
        assert [c.take().data for _ in range(2)] == [frame(mac(0x22), 2), frame(mac(0x77), 2)]
        b.settle()
        assert empty(a, b, c), "promiscuous unicast is not promiscuous multicast"
        a.publish(macs=(mac(0x21),))
        b.send(frame(mac(0x22), 2))
        c.take()
        b.settle()
        assert empty(a), "a deleted address"


def test_broadcast_and_multicast() -> None:
    with rig(vfs=4, uplink="none") as r:
        a, b, c, d = r.vfs
        a.open()
        b.open(macs=(GROUP,))
        c.open(promisc_multicast=True)
        d.open()
        a.send(frame(BROADCAST, 1), frame(GROUP, 1))
        assert [b.take().data for _ in range(2)] == [frame(BROADCAST, 1), frame(GROUP, 1)]
        assert [c.take().data for _ in range(2)] == [frame(BROADCAST, 1), frame(GROUP, 1)]
        assert d.take().data == frame(BROADCAST, 1)
        a.settle()
        assert empty(a, b, c, d), "none comes back to the sender"


def test_inactive_stopped_and_unlinked_vfs_take_no_part() -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open()
        b.open()
        for change in ({"active": False}, {"link_up": False}, {"mdd_stopped": True}):
            b.publish(**change)
            a.send(frame(BROADCAST, 1))
            a.take()
            before = b.stat("tx_error")
            b.send(frame(mac(1), 2))
            b.settle()
            assert b.stat("tx_error") == before + 1
            assert empty(a, b)
        b.publish()
        a.send(frame(mac(2), 1))
        assert b.take().data == frame(mac(2), 1)


def test_link_of_the_wire() -> None:
    with rig() as r:
        a = r.vfs[0]
        a.open()
        r.plane.set_link(False)
        a.send(frame(mac(1), 1))
        a.settle()
        assert a.stat("tx_error") == 1
        r.plane.set_link(True)
        a.send(frame(mac(1), 1))
        a.take()


# docs/spec/reliability.md D9
def test_spoof_check() -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open(macs=(mac(0x21),))
        b.open()
        a.send(frame(mac(2), 0x21), frame(mac(2), 2), frame(mac(2), 0x66))
        assert b.take().data == frame(mac(2), 0x21), "a further address of its own"
        event = r.wait_event("violation", "spoof check", "02:00:00:00:00:02")
        assert event.vf == 0
        a.settle()
        assert a.stat("tx_error") == 2
        assert (a.stat("tx_uc"), a.stat("tx_bytes")) == (1, 64), "what was dropped was not sent"
        assert empty(b)
        a.publish(spoof_check=False)
        a.send(frame(mac(2), 0x66))
        assert b.take().data == frame(mac(2), 0x66)


def test_vlan_filter() -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open()
        own = frozenset({(0x8100, 5), (0x8100, 4095)})
        b.open(vlans=own)
        sent = [frame(mac(2), 1, vlan=v) for v in (None, 0, 5, 6, 0x3005, 4095)]
        a.send(*sent)
        got = [b.take().data for _ in range(5)]
        assert got == [sent[0], sent[1], sent[2], sent[4], sent[5]]
        b.send(frame(mac(1), 2, vlan=6), frame(mac(1), 2, vlan=5))
        assert a.take().data == frame(mac(1), 2, vlan=5)
        r.wait_event("violation", "VLAN 6")
        b.publish(vlans=own, spoof_check=False)
        b.send(frame(mac(1), 2, vlan=6))
        assert a.take().data == frame(mac(1), 2, vlan=6), "the spoof check covers VLANs"


TYPES = (0x8100, 0x88A8, 0x9100)


@pytest.mark.parametrize("tpid", TYPES)
def test_a_vlan_filter_is_of_one_type(tpid: int) -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open(spoof_check=False)
        b.open(vlans=frozenset({(tpid, 100)}))
        sent = [frame(mac(2), 1, vlan=v, tpid=t) for t in TYPES for v in (100, 0, 101)]
        a.send(*sent)
        wanted = [frame(mac(2), 1, vlan=v, tpid=t) for t in TYPES for v in (100, 0)]
        wanted = [one for one in wanted if one[14:16] == bytes(2) or one[12:14] == tpid.to_bytes(2)]
        assert [b.take().data for _ in wanted] == wanted
        b.send(*(frame(mac(1), 2, vlan=100, tpid=t) for t in TYPES))
        assert a.take().data == frame(mac(1), 2, vlan=100, tpid=tpid)
        b.settle()
        assert empty(a, b)
        assert b.stat("tx_error") == 2
        other = next(t for t in TYPES if t != tpid)
        r.wait_event("violation", f"VLAN 100 of type {other:#06x}")


def test_without_pruning_a_vlan_filter_holds_back_only_what_is_sent() -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open()
        b.open(vlans=frozenset({(0x8100, 5)}), vlan_pruning=False)
        sent = [frame(mac(2), 1, vlan=v) for v in (None, 5, 6)]
        a.send(*sent)
        assert [b.take().data for _ in sent] == sent
        b.send(frame(mac(1), 2, vlan=6), frame(mac(1), 2, vlan=5))
        assert a.take().data == frame(mac(1), 2, vlan=5)
        b.settle()
        assert b.stat("tx_error") == 1


def test_a_filter_of_vlan_0_holds_back_what_is_received_alone() -> None:
    """That of ice, which prunes a VF without VLANs, and lets it send on each."""
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open()
        b.open(vlans=frozenset({(0x8100, 0)}), vlan_checking=False)
        sent = [frame(mac(2), 1, vlan=v, tpid=t) for t in TYPES for v in (7, 0)]
        a.send(frame(mac(2), 1), *sent)
        assert [b.take().data for _ in range(4)] == [frame(mac(2), 1), *sent[1::2]]
        b.send(frame(mac(1), 2, vlan=7))
        assert a.take().data == frame(mac(1), 2, vlan=7)
        b.settle()
        assert empty(b)
        assert b.stat("tx_error") == 0


@pytest.mark.parametrize("tpid", TYPES)
def test_a_port_vlan_has_type_8100(tpid: int) -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open()
        b.open(port_vlan=7)
        a.send(frame(mac(2), 1, vlan=7, tpid=tpid))
        a.settle()
        assert b.filled() == (tpid == 0x8100)


@pytest.mark.parametrize("uplink", ["none", "loopback"])
def test_the_default_vsi_gets_only_what_nobody_takes(uplink: str) -> None:
    """ice without vf-true-promisc-support (docs/spec/pf-dialects.md 3)."""
    with rig(vfs=3, uplink=uplink) as r:
        a, b, c = r.vfs
        a.open()
        b.open(macs=(GROUP,))
        c.open(default_vsi=True)
        a.send(frame(mac(2), 1), frame(GROUP, 1), frame(mac(9), 1), frame(GROUP[:5] + b"\x66", 1))
        assert [b.take().data for _ in range(2)] == [frame(mac(2), 1), frame(GROUP, 1)]
        if uplink == "loopback":  # these leave, come back from the wire, and match nothing
            got = [c.take() for _ in range(2)]
            left_over = [frame(mac(9), 1), frame(GROUP[:5] + b"\x66", 1)]
            assert [one.data for one in got] == left_over
            assert not any(one.loopback for one in got)
        c.send(frame(mac(3), 3), frame(mac(9), 3))
        for wanted in [frame(mac(3), 3), frame(mac(9), 3)] if uplink == "loopback" else []:
            assert c.take().data == wanted
        a.settle()
        c.settle()
        assert empty(a, b, c)
        assert r.plane.wire()["unmatched"] == 0


@pytest.mark.parametrize("uplink", ["none", "loopback", "pcap"])
def test_what_goes_to_nobody_is_counted_by_its_address(uplink: str, tmp_path: Path) -> None:
    """Unicast that no VF has asked for, where no wire could take it."""
    words = f"pcap:,{tmp_path / 'sent.pcap'}" if uplink == "pcap" else uplink
    with rig(vfs=3, uplink=words) as r:
        a, b, c = r.vfs
        a.open()
        b.open()
        c.open()
        for to in (2, 9, 9, 8):
            a.send(frame(mac(to), 1))
        a.send(frame(BROADCAST, 1), frame(GROUP, 1))
        a.settle()
        assert r.plane.strays(0) == ({} if uplink == "pcap" else {mac(9): 2, mac(8): 1})
        assert r.plane.strays(1) == {}
        c.publish(promisc_unicast=True)
        a.send(frame(mac(9), 1), frame(mac(0x77), 1))
        a.settle()
        assert sum(r.plane.strays(0).values()) == (0 if uplink == "pcap" else 3), "C takes them"


def test_of_many_addresses_those_with_the_most_frames_are_known() -> None:
    with rig(vfs=1, uplink="none") as r:
        (a,) = r.vfs
        a.open()
        for to, frames in ((0x11, 3), (0x12, 2), (0x13, 3), (0x14, 3), (0x15, 1)):
            for _ in range(frames):
                a.send(frame(mac(to), 1))
        a.settle()
        assert r.plane.strays(0) == {mac(0x11): 3, mac(0x15): 1, mac(0x13): 3, mac(0x14): 3}
        a.send(frame(mac(1), 1))
        a.settle()
        assert mac(1) in r.plane.strays(0), "its own address: nobody else has it"


def test_port_vlan() -> None:
    with rig(vfs=3, uplink="loopback") as r:
        a, b, c = r.vfs
        a.open(port_vlan=7)
        b.open(port_vlan=7)
        c.open()
        a.send(frame(mac(2), 1, b"x" * 700))
        assert b.take().data == frame(mac(2), 1, b"x" * 700), "neither side sees the tag"
        a.send(frame(mac(3), 1))
        assert c.take().data == frame(mac(3), 1, vlan=7)[:16] + frame(mac(3), 1)[12:]
        a.send(frame(BROADCAST, 1))
        assert b.take().data == frame(BROADCAST, 1)
        assert a.take().data == frame(BROADCAST, 1)
        assert c.take().data[12:16] == b"\x81\x00\x00\x07"
        c.send(frame(mac(1), 3), frame(mac(1), 3, vlan=8), frame(mac(1), 3, vlan=7))
        assert a.take().data == frame(mac(1), 3, vlan=7)[:12] + frame(mac(1), 3, vlan=7)[16:]
        a.send(frame(mac(2), 1, vlan=7))
        r.wait_event("violation", "VLAN 7 of type 0x8100 is not allowed")
        assert empty(a, b, c)


def test_port_vlan_into_scattered_buffers() -> None:
    with rig(vfs=2, buffer=128) as r:
        a, b = r.vfs
        a.open(port_vlan=7)
        b.open(port_vlan=7)
        body = frame(mac(2), 1, bytes(range(256)))
        a.send(body)
        assert b.take().data == body
