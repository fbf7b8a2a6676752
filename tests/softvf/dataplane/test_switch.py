# SPDX-License-Identifier: BSD-3-Clause
"""The switch between VFs and its uplinks (docs/design.md 9, docs/spec/descriptors.md 15)."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest

from iavfio.softvf.dataplane import DataPlane
from tests.softvf.dataplane.plane_rig import Vf, mac, rig, wait_for

BROADCAST = b"\xff" * 6
GROUP = b"\x01\x00\x5e\x00\x00\x05"


def frame(to: bytes, sender: int, text: bytes = b"", vlan: int | None = None) -> bytes:
    tag = b"" if vlan is None else b"\x81\x00" + vlan.to_bytes(2, "big")
    return (to + mac(sender) + tag + b"\x88\xb5" + text).ljust(64, b".")


def any_filled(vf: Vf) -> bool:
    return vf.filled(0) > 0 or vf.filled(1) > 0


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
            before = b.stat("tx_discard")
            b.send(frame(mac(1), 2))
            b.settle()
            assert b.stat("tx_discard") == before + 1
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
        assert a.stat("tx_discard") == 1
        r.plane.set_link(True)
        a.send(frame(mac(1), 1))
        a.take()


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
        assert a.stat("tx_discard") == 2
        assert empty(b)
        a.publish(spoof_check=False)
        a.send(frame(mac(2), 0x66))
        assert b.take().data == frame(mac(2), 0x66)


def test_vlan_filter() -> None:
    with rig(vfs=2) as r:
        a, b = r.vfs
        a.open()
        b.open(vlan_filtering=True, vlans=frozenset({5, 4095}))
        sent = [frame(mac(2), 1, vlan=v) for v in (None, 0, 5, 6, 0x3005, 4095)]
        a.send(*sent)
        got = [b.take().data for _ in range(5)]
        assert got == [sent[0], sent[1], sent[2], sent[4], sent[5]]
        b.send(frame(mac(1), 2, vlan=6), frame(mac(1), 2, vlan=5))
        assert a.take().data == frame(mac(1), 2, vlan=5)
        r.wait_event("violation", "VLAN 6")
        b.publish(vlan_filtering=True, spoof_check=False)
        b.send(frame(mac(1), 2, vlan=6))
        assert a.take().data == frame(mac(1), 2, vlan=6), "the spoof check covers VLANs"


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
        r.wait_event("violation", "VLAN 7 is not allowed")
        assert empty(a, b, c)


def test_port_vlan_into_scattered_buffers() -> None:
    with rig(vfs=2, buffer=128) as r:
        a, b = r.vfs
        a.open(port_vlan=7)
        b.open(port_vlan=7)
        body = frame(mac(2), 1, bytes(range(256)))
        a.send(body)
        assert b.take().data == body


def test_uplink_none_takes_everything_and_gives_nothing() -> None:
    with rig(uplink="none") as r:
        a = r.vfs[0]
        a.open()
        a.send(frame(mac(1), 1), frame(mac(5), 1), frame(BROADCAST, 1))
        a.settle()
        assert empty(a)
        assert a.stat("tx_uc") == 2


@pytest.mark.parametrize(
    "uplink", ["", "tap", "tap:", "tap:" + "x" * 40, "pcap:/nowhere", "gen:size=1"]
)
def test_uplinks_that_cannot_be(uplink: str) -> None:
    with pytest.raises(ValueError, match=r"uplink|tap|TAP|letters|nowhere|generator"):
        DataPlane(1, bar_size=0x10000, uplink=uplink)


# ---- pcap


def pcap(frames: list[bytes], order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    head = struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, 65535, 1)
    records = (struct.pack(order + "IIII", 1, 2, len(f), len(f)) + f for f in frames)
    return head + b"".join(records)


@pytest.mark.parametrize(("order", "magic"), [("<", 0xA1B2C3D4), (">", 0xA1B23C4D)])
def test_pcap_replay_loses_nothing(tmp_path: Path, order: str, magic: int) -> None:
    frames = [frame(mac(1 + i % 2), 9, i.to_bytes(4, "big")) for i in range(500)]
    (tmp_path / "in.pcap").write_bytes(pcap(frames, order, magic))
    with rig(vfs=2, uplink=f"pcap:{tmp_path}/in.pcap", ring=96) as r:
        r.plane.set_link(False)
        for vf in r.vfs:
            vf.open()
        r.plane.set_link(True)
        got: dict[int, list[bytes]] = {0: [], 1: []}
        while len(got[0]) + len(got[1]) < 500:
            wait_for(lambda: any(vf.filled() for vf in r.vfs), "more frames")
            for vf in r.vfs:
                for _ in range(vf.filled()):
                    got[vf.index].append(vf.take().data)
        assert got[0] == frames[0::2]
        assert got[1] == frames[1::2]


def test_pcap_record(tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    with rig(vfs=2, uplink=f"pcap:,{out}") as r:
        a, b = r.vfs
        a.open()
        b.open()
        a.send(frame(mac(9), 1, b"out"), frame(mac(2), 1, b"in"), frame(BROADCAST, 1, b"both"))
        a.settle()
    raw = out.read_bytes()
    assert raw[:24] == struct.pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 16384, 1)
    assert [raw[40 + i * 80 : 104 + i * 80] for i in range(2)] == [
        frame(mac(9), 1, b"out"),
        frame(BROADCAST, 1, b"both"),
    ]
    assert len(raw) == 24 + 2 * 80


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "too short"),
        (b"\n\r\r\n" + bytes(60), "no classic pcap"),
        (pcap([])[:20] + b"\x71\0\0\0", "link type 113"),
    ],
)
def test_files_that_are_no_pcap(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        DataPlane(1, bar_size=0x10000, uplink=f"pcap:{tmp_path}/x")


def test_damaged_pcap_ends_quietly(tmp_path: Path) -> None:
    whole = pcap([frame(mac(1), 9)] * 2)
    (tmp_path / "in").write_bytes(whole[:-10])
    with rig(uplink=f"pcap:{tmp_path}/in") as r:
        a = r.vfs[0]
        a.open()
        assert a.take().data == frame(mac(1), 9)


def test_full_disk_is_told() -> None:
    if not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("no /dev/full")
    with pytest.raises(ValueError, match="No space"):
        DataPlane(1, bar_size=0x10000, uplink="pcap:,/dev/full").stop()


# ---- generator


def test_generator_fills_rings_and_drops_nothing() -> None:
    with rig(vfs=2, uplink="gen:size=128,flows=3", ring=32) as r:
        r.plane.set_link(False)
        for vf in r.vfs:
            vf.open(queues=2, rss_lut=bytes([0, 1] * 32), rss_key=bytes(range(52)))
        r.plane.set_link(True)
        for vf in r.vfs:
            for _ in range(40):
                wait_for(partial(any_filled, vf), "more frames")
                ready = [q for q in (0, 1) if vf.filled(q)]
                got = vf.take(ready[0])
                assert got.data[:6] == mac(vf.index + 1)
                assert len(got.data) == 124
                assert got.verdict == "l3l4p"
            assert vf.stat("rx_discard") == 0


# ---- TAP, in a user namespace of its own

TAP = """
    import socket, struct, subprocess
    from pathlib import Path
    from tests.softvf.dataplane.plane_rig import mac, rig, wait_for
    from tests.softvf.dataplane.test_switch import frame

    with rig(uplink="tap:softvf0") as r:
        Path("/proc/sys/net/ipv6/conf/softvf0/disable_ipv6").write_text("1")
        subprocess.run(["ip", "link", "set", "softvf0", "up"], check=True)
        a = r.vfs[0]
        a.open()
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)) as wire:
            wire.bind(("softvf0", 0x88B5))
            wire.settimeout(20)
            a.send(frame(mac(9), 1, b"out"))
            assert wire.recv(2000) == frame(mac(9), 1, b"out")
            wire.send(frame(mac(1), 9, b"in"))
            assert a.take().data == frame(mac(1), 9, b"in")
        subprocess.run(["ip", "link", "set", "softvf0", "down"], check=True)
        a.send(frame(mac(9), 1, b"lost"))
        r.wait_event("uplink", "does not take frames")
        wait_for(lambda: a.stat("tx_error") == 1, "counted")
    print("tap works")
"""


def test_tap_uplink() -> None:
    enter = ["unshare", "-rn"]
    probe = "ip tuntap add probe0 mode tap"
    if (
        not shutil.which("ip")
        or subprocess.run([*enter, "sh", "-c", probe], capture_output=True, check=False).returncode
    ):
        pytest.skip("no user namespace with a TAP interface here")
    done = subprocess.run(
        [*enter, sys.executable, "-c", textwrap.dedent(TAP)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "tap works\n", done.stderr
