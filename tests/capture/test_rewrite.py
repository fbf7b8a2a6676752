# SPDX-License-Identifier: BSD-3-Clause
"""Rewriting: the frames are what scapy makes with the new addresses, checksums included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from iavfio.capture.packet_file import Frames
from iavfio.capture.rewrite import parse_rule, rewrite
from iavfio.capture.schedule import NEVER, Timing, due_times, parse_rate, parse_timing
from iavfio.errors import ConfigError

OWN = bytes.fromhex("02000000cafe")
A, B = "02:00:00:00:00:01", "02:00:00:00:00:02"


def frames_of(packets: list[bytes], times: list[int] | None = None) -> Frames:
    lengths = np.array([len(packet) for packet in packets], dtype=np.uint32)
    offsets = (np.cumsum(lengths) - lengths).astype(np.uint64)
    data = np.frombuffer(bytearray(b"".join(packets)), dtype=np.uint8)
    when = np.array(times or [0] * len(packets), dtype=np.int64)
    return Frames(data, offsets, lengths, lengths, when)


def four(src: str, dst: str, behind: Any, link: Any = None) -> bytes:
    return bytes((link or Ether(src=A, dst=B)) / IP(src=src, dst=dst) / behind)


def six(src: str, dst: str, behind: Any) -> bytes:
    return bytes(Ether(src=A, dst=B) / IPv6(src=src, dst=dst) / behind)


TAG = Ether(src=A, dst=B) / Dot1Q(vlan=7)
TAGS = Ether(src=A, dst=B) / Dot1AD(vlan=9) / Dot1Q(vlan=7)
BEHIND = [
    UDP(sport=1, dport=2) / Raw(b"odd"),
    TCP(sport=3, dport=4, seq=5) / Raw(b"even"),
    ICMP() / Raw(b"ping"),
    Raw(bytes(20)),
]


@pytest.mark.parametrize("behind", BEHIND, ids=["udp", "tcp", "icmp", "raw"])
@pytest.mark.parametrize("link", [None, TAG, TAGS], ids=["plain", "tag", "two tags"])
@pytest.mark.parametrize(
    ("key", "src", "dst"),
    [("ip", "192.0.2.5", "192.0.2.200"), ("ip-src", "192.0.2.5", "10.9.8.200"),
     ("ip-dst", "10.9.8.5", "192.0.2.200")],
)  # fmt: skip
def test_ipv4_networks(behind: Any, link: Any, key: str, src: str, dst: str) -> None:
    frames = frames_of([four("10.9.8.5", "10.9.8.200", behind, link), four(A4, B4, behind)])
    assert rewrite(frames, [parse_rule(f"{key}=10.9.8.0/24,192.0.2.0/24")], OWN) == 0
    assert frames[0] == four(src, dst, behind, link)
    assert frames[1] == four(A4, B4, behind)


A4, B4 = "172.16.0.1", "172.16.0.2"


@pytest.mark.parametrize(
    "behind", [*BEHIND[:2], ICMPv6EchoRequest(data=b"x")], ids=["udp", "tcp", "icmp"]
)
def test_ipv6_networks(behind: Any) -> None:
    frames = frames_of([six("fd00::1:5", "fd00::7", behind)])
    assert rewrite(frames, [parse_rule("ip=fd00::/64,2001:db8:0:1::/64")], OWN) == 0
    assert frames[0] == six("2001:db8:0:1::1:5", "2001:db8:0:1::7", behind)


def test_every_sum_comes_out_as_it_is_made_anew() -> None:
    """Also those that are 0 in one of their two forms."""
    packets, wanted = [], []
    for i in range(120):
        behind = UDP(sport=i, dport=9) / Raw(i.to_bytes(2, "big"))
        packets.append(four(f"10.0.{i % 256}.1", "10.0.0.2", behind))
        wanted.append(four(f"198.18.{i % 256}.1", "198.18.0.2", behind))
    frames = frames_of(packets)
    rewrite(frames, [parse_rule("ip=10.0.0.0/16,198.18.0.0/16")], OWN)
    assert [frames[i] for i in range(120)] == wanted


def test_fragments_and_missing_sums_are_left() -> None:
    later = bytes(Ether() / IP(src="10.0.0.1", dst="10.0.0.2", frag=5, proto=17) / Raw(bytes(24)))
    none = four("10.0.0.1", "10.0.0.2", UDP(sport=1, dport=2, chksum=0) / Raw(b"abc"))
    frames = frames_of([later, none])
    rewrite(frames, [parse_rule("ip=10.0.0.0/8,11.0.0.0/8")], OWN)
    assert frames[0][34:] == later[34:]
    assert frames[1][40:42] == b"\0\0"
    assert IP(frames[1][14:]).src == "11.0.0.1"


def test_extension_headers_are_counted_and_left() -> None:
    packet = bytearray(six("fd00::1", "fd00::2", UDP() / Raw(b"abc")))
    packet[20] = 0
    frames = frames_of([bytes(packet)])
    assert rewrite(frames, [parse_rule("ip-src=fd00::/64,fd01::/64")], OWN) == 1
    assert frames[0] == bytes(packet)


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_frames_cut_anywhere_are_not_written_beyond(cut: int) -> None:
    packet = four("10.0.0.1", "10.0.0.2", TCP() / Raw(b"abcdefgh"), TAG)
    frames = frames_of([packet[:cut], b"\xee" * 40])
    rewrite(frames, [parse_rule("ip=10.0.0.0/8,11.0.0.0/8"), parse_rule("src-mac=own")], OWN)
    assert frames[1][:6] + frames[1][12:] == b"\xee" * 34
    assert len(frames[0]) == cut


def test_mac_addresses() -> None:
    packet = four(A4, B4, UDP())
    frames = frames_of([packet])
    rewrite(frames, [parse_rule("src-mac=own"), parse_rule("dst-mac=ff:ff:ff:ff:ff:ff")], OWN)
    assert frames[0] == b"\xff" * 6 + OWN + packet[12:]
    rewrite(frames, [parse_rule("src-mac=keep"), parse_rule(f"dst-mac={A}")], OWN)
    assert frames[0] == bytes.fromhex("020000000001") + OWN + packet[12:]


@pytest.mark.parametrize(
    "text",
    ["", "ip", "mac=own", "ip=10.0.0.0/8", "ip=10.0.0.0/8,11.0.0.0/16", "ip=10.0.0.0/8,fd00::/8",
     "ip=10.0.0.1/8,11.0.0.0/8", "src-mac=ff:ff:ff:ff:ff:ff", "dst-mac=1", "dst-mac=zz:00"],
)  # fmt: skip
def test_wrong_rules(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_rule(text)


# ---- times

TIMED = [bytes(96)] * 5


def test_times_of_a_capture() -> None:
    frames = frames_of(TIMED, [1000, 1000, 1500, 1400, 3000])
    due, period = due_times(frames, Timing(speed=1.0))
    assert due is not None and due.tolist() == [0, 0, 500, 500, 2000]
    assert period == 2500
    due, period = due_times(frames, parse_timing("x2"))
    assert due is not None and due.tolist() == [0, 0, 250, 250, 1000]
    assert due_times(frames, parse_timing("max")) == (None, 0)


def test_times_of_a_rate() -> None:
    due, period = due_times(frames_of(TIMED), parse_rate("1kpps"))
    assert due is not None and due.tolist() == [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000]
    assert period == 5_000_000
    due, period = due_times(frames_of(TIMED), parse_rate("8Mbit/s"))  # 100 bytes with FCS
    assert due is not None and due.tolist() == [0, 100_000, 200_000, 300_000, 400_000]
    assert period == 500_000


@pytest.mark.parametrize(
    ("times", "timing"),
    [
        ([0, 0xFFFFFFFF * 10**9], Timing(speed=0.001)),
        ([0, 1 << 62], Timing(speed=1.0)),
        ([-(1 << 63), (1 << 63) - 1, 5], Timing(speed=1.0)),
        ([0] * 40_000, Timing(bps=1.0)),
        ([0] * 5000, Timing(pps=1e-6)),
    ],
)
def test_frames_that_are_centuries_apart_are_due_in_order_and_never(
    times: list[int], timing: Timing
) -> None:
    one = frames_of([bytes(60_000)])
    offsets, lengths = np.resize(one.offsets, len(times)), np.resize(one.lengths, len(times))
    frames = Frames(one.data, offsets, lengths, lengths, np.array(times, dtype=np.int64))
    due, period = due_times(frames, timing)
    assert due is not None
    assert np.all(due[1:] >= due[:-1])
    assert due[0] == 0
    assert due[-1] == NEVER
    assert NEVER <= period < 1 << 64


@pytest.mark.parametrize(("text", "speed"), [("x0.001", 0.001), ("x1000000", 1e6)])
def test_the_ends_of_what_a_refusal_names_are_taken(text: str, speed: float) -> None:
    assert parse_timing(text) == Timing(speed=speed)


@pytest.mark.parametrize("text", ["", "fast", "x", "x0", "x-1", "2x", "xx2", "x99999999"])
def test_wrong_timings(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_timing(text)


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "1Tpps", "10 apples", "1e5", "0bit/s", "99999Gpps"]
)
def test_wrong_rates(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_rate(text)
