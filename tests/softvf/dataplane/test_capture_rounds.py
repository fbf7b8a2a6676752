# SPDX-License-Identifier: BSD-3-Clause
"""A capture on the wire that is played in rounds and at a pace; what no VF gets has a reason."""

from __future__ import annotations

import gzip
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import iavfio
from iavfio.softvf._device import lib
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.vf_config import FlowAction, FlowRule
from tests.port.rig import collect
from tests.softvf.dataplane.plane_rig import Rig, Vf, mac, rig, wait_for
from tests.softvf.dataplane.test_switch import BROADCAST, frame
from tests.softvf.dataplane.test_wire import notes, pcap, played

HOUR = 3600
FRAMES = [frame(mac(1), 9, bytes([i])) for i in range(5)]


def timed(times: list[int], magic: int = 0xA1B2C3D4) -> bytes:
    """A capture of one frame at each of these times, in units of the file."""
    scale = 1_000_000 if magic == 0xA1B2C3D4 else 1_000_000_000
    out = pcap([], magic=magic)
    for i, at in enumerate(times):
        data = frame(mac(1), 9, bytes([i]))
        out += struct.pack("<IIII", at // scale, at % scale, len(data), len(data)) + data
    return out


def test_rounds_are_whole_and_counted(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(pcap(FRAMES))
    with rig(uplink=f"pcap:{tmp_path}/in,loop=3") as r:
        r.vfs[0].open()
        assert [r.vfs[0].take().data for _ in range(15)] == FRAMES * 3
        wire = played(r)
        assert (wire["received"], wire["capture_rounds"]) == (15, 3)
        assert notes(r) == ["the capture is played 3 times: 15 frames"]


def test_rounds_without_end(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(pcap(FRAMES))
    with rig(uplink=f"pcap:{tmp_path}/in,loop=forever", ring=32) as r:
        r.vfs[0].open()
        for n in range(100):
            assert r.vfs[0].take().data == FRAMES[n % 5]
        wire = r.plane.wire()
        assert not wire["capture_ended"]
        assert wire["capture_rounds"] >= 19


@pytest.mark.parametrize("content", [pcap([]), pcap([bytes(20_000)])])
def test_a_file_of_no_frames_has_an_end_for_all_that(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in").write_bytes(content)
    with rig(uplink=f"pcap:{tmp_path}/in,loop=forever,pace=original") as r:
        r.vfs[0].open()
        wire = played(r)
        assert "received" not in wire
        assert wire["capture_rounds"] == 1


def test_a_damaged_file_is_played_once(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(pcap(FRAMES)[:-1])
    with rig(uplink=f"pcap:{tmp_path}/in,loop=forever") as r:
        r.vfs[0].open()
        wire = played(r)
        assert (wire["received"], wire["capture_damaged"]) == (4, 1)
        assert "capture_rounds" not in wire


# An hour lies between the frames of these captures: what is waited for comes, and nothing else.
@pytest.mark.parametrize(
    ("pace", "times", "coming"),
    [
        ("original", [7, 7, 7 + HOUR], 2),
        ("original", [7 + HOUR, 7, 7], 3),  # earlier than the first: with it
        ("x0.001", [7, 7, 8 + HOUR], 2),
        ("x1000000", [7, 7 + HOUR, 7 + 2 * HOUR], 3),
        ("0.001", [7, 7, 7], 1),
        ("1.5Mpps", [7, 7 + HOUR, 7 + 9 * HOUR], 3),
        ("max", [7, 7 + HOUR, 7 + 9 * HOUR], 3),
    ],
)
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_frames_come_at_their_times(
    tmp_path: Path, pace: str, times: list[int], coming: int, magic: int
) -> None:
    scale = 1_000_000 if magic == 0xA1B2C3D4 else 1_000_000_000
    (tmp_path / "in").write_bytes(timed([at * scale for at in times], magic))
    with rig(uplink=f"pcap:{tmp_path}/in,pace={pace}") as r:
        a = r.vfs[0]
        a.open()
        assert [a.take().data[14:15] for _ in range(coming)] == [bytes([i]) for i in range(coming)]
        if coming == len(times):
            assert played(r)["received"] == coming
        else:
            time.sleep(0.01)
            wire = r.plane.wire()
            assert (wire["received"], wire["capture_ended"]) == (coming, 0)


def test_nothing_comes_before_its_time(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(timed([0, 4_000_000]))
    with rig(uplink=f"pcap:{tmp_path}/in,pace=x1000,loop=3") as r:
        begun = time.monotonic()
        r.vfs[0].open()
        wire = played(r)
        assert time.monotonic() - begun >= 5 * 0.004, "a mean gap lies between rounds, too"
        assert (wire["received"], wire["capture_rounds"]) == (6, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        *((f"loop={text}", "so many times: 1 to 1000000000, or forever")
          for text in ("", "0", "-1", "1.5", "1e3", "ever", "1000000001", "99999999999999999999")),
        *((f"pace={text}", "frames come as they were captured")
          for text in ("", "x", "x0", "x0.0001", "x1000001", "0", "-5", ".5", "5.", "5 ", "10bps",
                       "1 kpps", "nan", "inf", "x1e3", "11Gpps", "Original", "0x10", "1e3",
                       "9" * 200)),
        ("loop=2,loop=0", "so many times"),
    ],
)  # fmt: skip
def test_what_cannot_be(tmp_path: Path, options: str, words: str) -> None:
    (tmp_path / "in").write_bytes(pcap([]))
    with pytest.raises(ValueError, match=words):
        DataPlane(1, bar_size=0x10000, uplink=f"pcap:{tmp_path}/in,{options}")


@pytest.mark.parametrize("option", ["loop=2", "loop=forever", "pace=original", "pace=10"])
def test_rounds_and_paces_need_a_capture(tmp_path: Path, option: str) -> None:
    with pytest.raises(ValueError, match="are for a capture that is played, and none is named"):
        DataPlane(1, bar_size=0x10000, uplink=f"pcap:,{tmp_path}/out,{option}")


def test_options_may_stand_before_the_files(tmp_path: Path) -> None:
    content = pcap(FRAMES)
    (tmp_path / "in").write_bytes(content)
    with rig(uplink=f"pcap:start=1,loop=2,{tmp_path}/in,pace=max,{tmp_path}/out") as r:
        r.vfs[0].open()
        assert played(r)["received"] == 10
    assert (tmp_path / "in").read_bytes() == content, "it was not taken for the output"
    assert len((tmp_path / "out").read_bytes()) == 24


# ---- why a frame reached nobody


def tagged(vlan: int) -> bytes:
    return mac(1) + mac(9) + struct.pack(">HHH", 0x8100, vlan, 0x88B5) + bytes(60)


def spoil(r: Rig) -> None:
    r.vfs[0].open()
    r.plane.spoil(0, "lose", 1)


def silent(vf: Vf) -> None:
    vf.map_all()
    vf.publish()


def everything_dropped() -> FlowRule:
    return FlowRule(lib.SOFTVF_HAS_ETH, 0, bytes(14), FlowAction.DROP)


REASONS: dict[str, tuple[bytes, int, Callable[[Rig], None]]] = {
    "not_receiving": (FRAMES[0], 9, lambda r: silent(r.vfs[0])),
    "vlan_filtered": (tagged(5), 9, lambda r: r.vfs[0].open(vlans=frozenset({(0x8100, 4)}))),
    "over_max_frame": (FRAMES[0].ljust(9725, b"l"), 9, lambda r: r.vfs[0].open()),
    "no_room": (FRAMES[0], 4, lambda r: r.vfs[0].open(post=5)),
    "stopped": (FRAMES[0], 1, lambda r: r.vfs[0].open(post=64)),
    "spoiled": (FRAMES[0], 9, spoil),
    "dropped": (FRAMES[0], 9, lambda r: r.vfs[0].open(flows=(everything_dropped(),))),
    "unmatched": (frame(mac(7), 9), 9, lambda r: r.vfs[0].open()),
}


@pytest.mark.parametrize("reason", REASONS)
def test_each_frame_that_reaches_nobody_is_counted_under_its_reason(
    tmp_path: Path, reason: str
) -> None:
    data, lost, prepare = REASONS[reason]
    (tmp_path / "in").write_bytes(pcap([data] * 9))
    with rig(uplink=f"pcap:{tmp_path}/in,start=command,pace=10Mpps") as r:
        prepare(r)
        r.plane.play()
        wire = played(r)
        assert wire.pop(reason) == lost
        if reason == "stopped":
            assert wire.pop("not_receiving") == 8, "the queue is off from then on"
        assert set(wire) <= {"received", "received_bytes", "capture_ended", "capture_rounds",
                             "capture_late_us"}  # fmt: skip
        assert wire["received"] == 9
        told = [event.text for event in r.plane.events() if event.kind == "uplink"]
        assert any(text.startswith("1 frames from the wire are") for text in told)


def test_a_frame_that_one_of_several_gets_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(pcap([frame(BROADCAST, 9)] * 9))
    with rig(vfs=2, uplink=f"pcap:{tmp_path}/in,start=command,pace=10Mpps") as r:
        r.vfs[0].open(post=5)
        r.vfs[1].open(post=7)
        r.plane.play()
        assert played(r)["no_room"] == 2
        assert [vf.stat("rx_discard") for vf in r.vfs] == [4, 2]


def test_a_packed_capture_in_rounds_reaches_a_port(tmp_path: Path) -> None:
    path = tmp_path / "in.pcap.gz"
    data = [frame(BROADCAST, 9, bytes([i])) for i in range(5)]
    path.write_bytes(gzip.compress(pcap(data)))
    with (
        iavfio.softvf(vfs=1, uplink=f"pcap:pace=x1000000,{path},loop=3,start=1") as pf,
        iavfio.open(pf.sockets[0]) as port,
    ):
        port.start(wait_link=10)
        assert collect(port.rx, 15) == data * 3

        def rounds() -> bool:
            return bool(pf.control("wire")["wire"]["capture_rounds"] == 3)

        wait_for(rounds, "the end of the capture")
