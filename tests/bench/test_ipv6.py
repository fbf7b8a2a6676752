# SPDX-License-Identifier: BSD-3-Clause
"""Runs of IPv6 frames: what leaves the port, as scapy reads it, and what is known again."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

import iavfio
from iavfio.bench.plan import Plan
from iavfio.bench.preflight import preflight
from iavfio.bench.run import run
from iavfio.errors import ConfigError
from iavfio.port.port import Port
from iavfio.port.probe import probe_frame
from tests.port.rig import until

ENDS = ("2001:2::1", "2001:2:0:8000::1")  # RFC 5180, 8


def checked(frame: bytes) -> Any:
    """The frame as scapy reads it, its lengths and checksum being those that scapy makes."""
    packet: Any = Ether(frame)
    assert (packet[IPv6].src, packet[IPv6].dst) == ENDS
    again = Ether(frame)
    del again[IPv6].plen, again[UDP].len, again[UDP].chksum
    assert bytes(again) == frame
    return packet


def received(port: Port, count: int) -> list[bytes]:
    """The next `count` frames that the port receives."""
    frames: list[bytes] = []

    def taken() -> bool:
        with port.rx[0].recv() as burst:
            frames.extend(bytes(data) for data in burst)
        return len(frames) >= count

    assert until(taken, 60)
    return frames


def test_frames_are_what_scapy_makes_of_them() -> None:
    sizes = (82, 83, 84, 1518)
    with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as sender, pf.open(1) as there:
        for port in (sender, there):
            port.configure(ring=512)
            port.start(wait_link=60)
        plan = Plan("txonly", sizes, count=40, flows=5, ipv6=True, dst=there.mac)
        done = run(plan, [sender])
        frames = received(there, 40)
    assert done.sound and len(frames) == 40
    assert [len(frame) + 4 for frame in frames] == [*sizes] * 10
    ports = [checked(frame)[UDP].sport for frame in frames]
    assert ports == [49152 + i % 5 for i in range(40)]


@pytest.mark.parametrize("size", [78, 79, 101, 1000])
def test_probes_are_too(size: int) -> None:
    frame = probe_frame(bytes(6), bytes(6), size, ipv6=True)
    assert len(frame) == size and checked(frame)[UDP].dport == 9


def test_each_packet_is_known_again_verified_and_timed() -> None:
    plan = Plan("loopback", (82, 300, 1518), count=600, ipv6=True, verify=True, latency=True)
    with iavfio.softvf(uplink="loopback") as pf, pf.open(0) as port:
        port.configure(ring=1024)
        port.start(wait_link=60)
        preflight(plan, [port])
        done = run(plan, [port])
        with pytest.raises(ConfigError, match="frames of 81 bytes"):
            run(Plan(sizes=(81,), ipv6=True, count=1), [port])
    assert (done.sent, done.received, done.total.foreign) == (600, 600, 0)
    assert done.sound and done.latency is not None
    assert done.latency.count + done.latency.missed == 600


def test_what_is_only_received_has_no_protocol_to_choose() -> None:
    with pytest.raises(ConfigError, match="--ipv6 cannot be used with --mode rxdrop"):
        Plan("rxdrop", ipv6=True)
