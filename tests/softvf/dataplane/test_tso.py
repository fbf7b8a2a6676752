# SPDX-License-Identifier: BSD-3-Clause
"""Segmentation and VLAN tags; scapy is the oracle (docs/spec/descriptors.md 2, 3, 9)."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from tests.softvf.dataplane.plane_rig import IIPT4_CSUM, IIPT6, IL2TAG1, Vf, context, mac, rig
from tests.softvf.dataplane.plane_rig import TCP as L4T_TCP
from tests.softvf.dataplane.plane_rig import UDP as L4T_UDP
from tests.softvf.dataplane.test_checksum import pseudo

HEAD = Ether(dst=mac(1), src=mac(1))
V4 = IP(src="10.0.0.1", dst="10.0.0.2", id=0xFFFE)
V6 = IPv6(src="fe80::1", dst="fe80::2")
DATA = bytes(i * 7 & 0xFF for i in range(3000))


def tso_frame(head: Any, ip: Any, l4: Any, payload: bytes) -> bytes:
    """As a driver leaves it: pseudo header without the length, IPv4 length and checksum 0."""
    packet = head / ip / l4 / Raw(payload)
    frame = bytearray(bytes(packet))
    l3 = len(bytes(head))
    l4_at = l3 + (20 if ip.version == 4 else 40)
    proto, field = (6, 16) if l4.name == "TCP" else (17, 6)
    value = pseudo(ip / l4, proto, 0)
    frame[l4_at + field : l4_at + field + 2] = value.to_bytes(2, "big")
    if ip.version == 4:
        frame[l3 + 2 : l3 + 4] = frame[l3 + 10 : l3 + 12] = b"\0\0"
    else:
        frame[l3 + 4 : l3 + 6] = b"\0\0"
    return bytes(frame)


def segments(vf: Vf, count: int) -> list[bytes]:
    got = [vf.take() for _ in range(count)]
    assert {g.verdict for g in got} == {"l3l4p"}
    return [g.data for g in got]


@pytest.mark.parametrize("ip", [V4, V6], ids=["v4", "v6"])
def test_tcp(ip: Any) -> None:
    flags = "FPACE"  # FIN PSH ACK CWR ECE
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        frame = tso_frame(HEAD, ip, TCP(sport=5, dport=6, seq=2**32 - 500, flags=flags), DATA)
        lengths = {"maclen": 14, "iplen": 20 if ip is V4 else 40, "l4len": 20}
        iipt = IIPT4_CSUM if ip is V4 else IIPT6
        vf.post([context(tso_len=3000, mss=1200), vf.frame(frame, iipt | L4T_TCP, **lengths)])
        want = []
        for number, (at, seg_flags) in enumerate(((0, "ACE"), (1200, "AE"), (2400, "FPAE"))):
            seq = (2**32 - 500 + at) % 2**32
            layer = ip.copy()
            if ip is V4:
                layer.id = (0xFFFE + number) & 0xFFFF
            tcp = TCP(sport=5, dport=6, seq=seq, flags=seg_flags)
            want.append(bytes(HEAD / layer / tcp / Raw(DATA[at : at + 1200])))
        assert segments(vf, 3) == want
        assert vf.stat("tx_uc") == 3
        assert vf.stat("tx_bytes") == sum(len(w) for w in want)


@pytest.mark.parametrize("ip", [V4, V6], ids=["v4", "v6"])
def test_udp(ip: Any) -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        frame = tso_frame(HEAD, ip, UDP(sport=5, dport=6), DATA[:1000])
        lengths = {"maclen": 14, "iplen": 20 if ip is V4 else 40, "l4len": 8}
        iipt = IIPT4_CSUM if ip is V4 else IIPT6
        vf.post([context(tso_len=1000, mss=400), vf.frame(frame, iipt | L4T_UDP, **lengths)])
        want = []
        for number, at in enumerate((0, 400, 800)):
            layer = ip.copy()
            if ip is V4:
                layer.id = (0xFFFE + number) & 0xFFFF
            payload = Raw(DATA[at : min(at + 400, 1000)])
            want.append(bytes(HEAD / layer / UDP(sport=5, dport=6) / payload))
        assert segments(vf, 3) == want


def test_tcp_in_vxlan() -> None:
    outer = HEAD / IP(src="1.1.1.1", dst="2.2.2.2", id=9) / UDP(sport=7, dport=4789) / VXLAN()
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        head = outer / Ether(dst=mac(8), src=mac(9))
        frame = bytearray(tso_frame(head, V4, TCP(sport=5, dport=6, seq=1), DATA[:900]))
        frame[16:18] = frame[24:26] = b"\0\0"
        frame[38:40] = b"\0\0"
        frame[40:42] = pseudo(outer, 17, 0).to_bytes(2, "big")
        tunnel = context(
            tso_len=900, mss=500, eipt=3, eiplen=20, l4tunt=1, l4tunlen=30, outer_checksum=True
        )
        lengths = {"maclen": 14, "iplen": 20, "l4len": 20}
        vf.post([tunnel, vf.frame(bytes(frame), IIPT4_CSUM | L4T_TCP, **lengths)])
        want = []
        for number, at in enumerate((0, 500)):
            whole = HEAD / IP(src="1.1.1.1", dst="2.2.2.2", id=9 + number)
            layer = V4.copy()
            layer.id = 0xFFFE + number
            flags = "S"
            tcp = TCP(sport=5, dport=6, seq=1 + at, flags=flags)
            within = (
                Ether(dst=mac(8), src=mac(9)) / layer / tcp / Raw(DATA[at : min(at + 500, 900)])
            )
            want.append(bytes(whole / UDP(sport=7, dport=4789) / VXLAN() / within))
        assert segments(vf, 2) == want


@pytest.mark.parametrize("counts", [True, False])
def test_the_outer_id_counts_unless_the_driver_says_no(counts: bool) -> None:
    """EIP_NOINC (docs/spec/descriptors.md 2)."""
    outer = HEAD / IP(src="1.1.1.1", dst="2.2.2.2", id=9) / UDP(sport=7, dport=4789) / VXLAN()
    head = outer / Ether(dst=mac(8), src=mac(9))
    frame = tso_frame(head, V4, TCP(sport=5, dport=6, seq=1), DATA[:900])
    tunnel = bytearray(context(tso_len=900, mss=300, eipt=3, eiplen=20, l4tunt=1, l4tunlen=30))
    tunnel[1] |= 0 if counts else 0x08
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        lengths = {"maclen": 14, "iplen": 20, "l4len": 20}
        vf.post([bytes(tunnel), vf.frame(frame, IIPT4_CSUM | L4T_TCP, **lengths)])
        got = [vf.take().data for _ in range(3)]
    ids = [int.from_bytes(segment[18:20], "big") for segment in got]
    assert ids == ([9, 10, 11] if counts else [9, 9, 9])
    inner = [int.from_bytes(segment[68:70], "big") for segment in got]
    assert inner == [0xFFFE, 0xFFFF, 0], "the inner id counts in any case"


def test_large_tso() -> None:
    """Near the limit of an IPv4 packet, in buffers of 12 KiB as Linux cuts them."""
    with rig(ring=512, buffer=2048) as r:
        vf = r.vfs[0]
        vf.open()
        payload = bytes(60000)
        frame = tso_frame(HEAD, V4, TCP(sport=5, dport=6), payload)
        cmd = (IIPT4_CSUM | L4T_TCP | 4) << 4
        fields = 14 // 2 << 16 | 20 // 4 << 23 | 20 // 4 << 30
        address, out = vf.put(frame), [context(tso_len=60000, mss=1460)]
        for at in range(0, len(frame), 12288):
            size = min(12288, len(frame) - at)
            last = 3 << 4 if at + size == len(frame) else 0
            qw1 = cmd | last | fields | size << 34
            out.append((address + at).to_bytes(8, "little") + qw1.to_bytes(8, "little"))
        vf.post(out)
        got = [vf.take() for _ in range(42)]
        assert [len(g.data) for g in got] == [54 + 1460] * 41 + [54 + 60000 - 41 * 1460]
        assert {g.verdict for g in got} == {"l3l4p"}


def test_payload_no_longer_than_mss() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        frame = tso_frame(HEAD, V4, TCP(sport=5, dport=6), b"x" * 100)
        lengths = {"maclen": 14, "iplen": 20, "l4len": 20}
        vf.post([context(tso_len=100, mss=1000), vf.frame(frame, IIPT4_CSUM | L4T_TCP, **lengths)])
        assert segments(vf, 1) == [bytes(HEAD / V4 / TCP(sport=5, dport=6) / Raw(b"x" * 100))]


# ---- VLAN tags

PLAIN = bytes(HEAD / V4 / UDP(sport=5, dport=6) / Raw(b"tagged or not, that is it"))


@pytest.mark.parametrize("tpid", [0x8100, 0x88A8, 0x9100])
def test_insert(tpid: int) -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open(insert_tpid=tpid)
        tag = tpid.to_bytes(2, "big") + b"\xb0\x05"
        want = PLAIN[:12] + tag + PLAIN[12:]
        vf.post([vf.frame(PLAIN, IL2TAG1, tag=0xB005)])
        assert vf.take().data == want
        vf.post([context(tag2=0xB005), vf.frame(PLAIN)])
        assert vf.take().data == want
        vf.post([context(tag2=0xB006), vf.frame(PLAIN, IL2TAG1, tag=0x0007)])
        both = tpid.to_bytes(2, "big") + b"\xb0\x06" + b"\x81\x00\x00\x07"
        assert vf.take().data == PLAIN[:12] + both + PLAIN[12:], "the context's is outermost"


def test_insert_in_each_segment() -> None:
    with rig() as r:
        vf = r.vfs[0]
        vf.open()
        frame = tso_frame(HEAD, V4, TCP(sport=5, dport=6), DATA[:1000])
        lengths = {"maclen": 14, "iplen": 20, "l4len": 20, "tag": 9}
        cmd = IIPT4_CSUM | L4T_TCP | IL2TAG1
        vf.post([context(tso_len=1000, mss=500), vf.frame(frame, cmd, **lengths)])
        assert [s[12:16] for s in segments(vf, 2)] == [b"\x81\x00\x00\x09"] * 2


@pytest.mark.parametrize("rxdid", [1, 2, 22])
@pytest.mark.parametrize("where", ["l2tag1", "l2tag2_2"])
def test_strip(rxdid: int, where: str) -> None:
    with rig(rxdid=rxdid) as r:
        vf = r.vfs[0]
        vf.open(strip=where, strip_tpids=(0x8100, 0x88A8))
        tagged = bytes(Ether(PLAIN[:14]) / Dot1Q(vlan=0xABC, prio=5))[:12]
        for tpid in (b"\x81\x00", b"\x88\xa8"):
            (got,) = vf.exchange(tagged + tpid + b"\xba\xbc" + PLAIN[12:])
            assert got.data == PLAIN
            assert (got.tag1, got.tag2) == ((0xBABC, None) if where == "l2tag1" else (None, 0xBABC))
            assert got.verdict == "l3l4p"
        other = PLAIN[:12] + b"\x91\x00\xba\xbc" + PLAIN[12:]
        (got,) = vf.exchange(other)
        assert (got.data, got.tag1, got.tag2) == (other, None, None)
        (got,) = vf.exchange(PLAIN)
        assert (got.data, got.tag1, got.tag2) == (PLAIN, None, None)
        double = PLAIN[:12] + b"\x88\xa8\x00\x01" + b"\x81\x00\x00\x02" + PLAIN[12:]
        (got,) = vf.exchange(double)
        assert got.data == PLAIN[:12] + b"\x81\x00\x00\x02" + PLAIN[12:], "only the outer tag"
        vf.publish(strip="none")
        (got,) = vf.exchange(double)
        assert (got.data, got.tag1, got.tag2) == (double, None, None)


def test_strip_over_several_buffers() -> None:
    with rig(buffer=128) as r:
        vf = r.vfs[0]
        vf.open(strip="l2tag1")
        body = bytes(HEAD / Raw(bytes(range(256)) * 2))
        for size in (128, 129, 132, 300):
            frame = body[:size]
            (got,) = vf.exchange(frame[:12] + b"\x81\x00\x00\x01" + frame[12:])
            assert got.data == frame
            assert got.tag1 == 1
