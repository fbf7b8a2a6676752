# SPDX-License-Identifier: BSD-3-Clause
"""The wire and its uplinks: capture files, a generator, a TAP; what is lost there is counted."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest

from iavfio.softvf.dataplane import WIRE, DataPlane
from tests.softvf.dataplane.plane_rig import Rig, Vf, mac, rig, wait_for
from tests.softvf.dataplane.test_switch import BROADCAST, empty, frame


def any_filled(vf: Vf) -> bool:
    return vf.filled(0) > 0 or vf.filled(1) > 0


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


def notes(r: Rig) -> list[str]:
    """What was said of the wire, which is no VF's."""
    events = r.plane.events()
    assert all((event.vf, event.kind) == (WIRE, "uplink") for event in events)
    return [event.text for event in events]


def played(r: Rig) -> dict[str, int]:
    """Counters of the wire once the capture is over, those that are not 0."""
    wait_for(lambda: r.plane.wire()["capture_ended"], "the end of the capture")
    return {name: value for name, value in r.plane.wire().items() if value}


@pytest.mark.parametrize("cut", [1, 10, 63, 64, 70, 79])
def test_a_file_cut_in_a_record_is_told(tmp_path: Path, cut: int) -> None:
    whole = pcap([frame(mac(1), 9, b"one"), frame(mac(1), 9, b"two")])
    (tmp_path / "in").write_bytes(whole[:-cut])
    with rig(uplink=f"pcap:{tmp_path}/in") as r:
        a = r.vfs[0]
        a.open()
        assert a.take().data == frame(mac(1), 9, b"one")
        want = {"received": 1, "received_bytes": 64, "capture_ended": 1, "capture_damaged": 1}
        assert played(r) == want
        assert notes(r) == [
            "the capture is cut or damaged behind 1 frames: what follows is left out"
        ]
        assert empty(a)


def test_a_record_that_cannot_be_ends_the_capture(tmp_path: Path) -> None:
    frames = pcap([frame(mac(1), 9)]) + struct.pack("<IIII", 1, 2, 1 << 25, 64) + bytes(64)
    (tmp_path / "in").write_bytes(frames)
    with rig(uplink=f"pcap:{tmp_path}/in") as r:
        r.vfs[0].open()
        assert played(r)["capture_damaged"] == 1
        assert r.vfs[0].take().data == frame(mac(1), 9)


def test_a_whole_capture_says_that_it_is_over(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(pcap([frame(mac(1), 9)] * 3))
    with rig(uplink=f"pcap:{tmp_path}/in") as r:
        r.vfs[0].open()
        want = {"received": 3, "received_bytes": 192, "capture_ended": 1, "capture_rounds": 1}
        assert played(r) == want
        assert notes(r) == ["the capture is played: 3 frames"]


@pytest.mark.parametrize("size", [16376, 16377, 20_000, 65535, 262_144])
def test_frames_that_are_too_long_are_counted(tmp_path: Path, size: int) -> None:
    long = frame(mac(1), 9).ljust(size, b"l")
    (tmp_path / "in").write_bytes(pcap([frame(mac(1), 9, b"a"), long, frame(mac(1), 9, b"z")]))
    with rig(uplink=f"pcap:{tmp_path}/in", max_frame=16000) as r:
        a = r.vfs[0]
        a.open()
        wire = played(r)
        assert [a.take().data for _ in range(2)] == [
            frame(mac(1), 9, b"a"),
            frame(mac(1), 9, b"z"),
        ]
        left_out = int(size > 16376)
        assert wire.get("capture_too_long", 0) == left_out
        assert wire["received"] == 3 - left_out
        assert a.stat("rx_discard") == 1 - left_out, "longer than the queue takes: the VF counts it"
        assert any("1 frames of the capture are longer" in note for note in notes(r)) == left_out


@pytest.mark.parametrize("order", ["<", ">"])
def test_frames_that_were_captured_in_part_are_counted(tmp_path: Path, order: str) -> None:
    whole = frame(mac(1), 9)
    content = pcap([whole], order) + struct.pack(order + "IIII", 1, 2, len(whole), 1500) + whole
    (tmp_path / "in").write_bytes(content)
    with rig(uplink=f"pcap:{tmp_path}/in") as r:
        r.vfs[0].open()
        assert [r.vfs[0].take().data for _ in range(2)] == [whole] * 2
        assert played(r)["capture_partial"] == 1
        assert "of 1 frames the capture holds only the beginning" in notes(r)[0]


def test_short_and_empty_records(tmp_path: Path) -> None:
    frames = [b"", bytes(13), (mac(1) + mac(9) + b"\x88\xb5")]
    (tmp_path / "in").write_bytes(pcap(frames))
    with rig(uplink=f"pcap:{tmp_path}/in") as r:
        r.vfs[0].open()
        assert r.vfs[0].take().data == frames[2].ljust(60, b"\0")
        assert played(r)["bad_length"] == 2


def test_frames_for_nobody_are_counted(tmp_path: Path) -> None:
    group = b"\x01\x00\x5e\x00\x00\x05"
    frames = [frame(mac(9), 8, bytes([i])) for i in range(5)] + [frame(group, 8)]
    (tmp_path / "in").write_bytes(pcap([*frames, frame(mac(1), 9), frame(BROADCAST, 9)]))
    with rig(uplink=f"pcap:{tmp_path}/in") as r:
        r.vfs[0].open()
        assert played(r)["unmatched"] == 6
        assert r.vfs[0].take().data == frame(mac(1), 9)
        assert r.vfs[0].take().data == frame(BROADCAST, 9)
        assert empty(*r.vfs)
        told = [note.partition(" frames")[0] for note in notes(r) if "for no VF" in note]
        assert told == ["1", "2", "4"], "what repeats is told at powers of two"


def test_the_default_vsi_takes_what_the_wire_brings_for_nobody(tmp_path: Path) -> None:
    group = b"\x01\x00\x5e\x00\x00\x05"
    frames = [frame(mac(9), 8), frame(group, 8), frame(mac(1), 8), frame(BROADCAST, 8)]
    (tmp_path / "in").write_bytes(pcap(frames))
    with rig(vfs=2, uplink=f"pcap:{tmp_path}/in,start=all") as r:
        a, b = r.vfs
        a.open()
        b.open(default_vsi=True)
        assert "unmatched" not in played(r)
        assert [a.take().data for _ in range(2)] == frames[2:]
        assert [b.take().data for _ in range(3)] == [frames[0], frames[1], frames[3]]
        assert empty(a, b)


# ---- when a capture begins, and when the wire is down


@pytest.mark.parametrize(("start", "needed"), [("", 1), (",start=1", 1), (",start=2", 2)])
def test_a_capture_waits_until_vfs_are_up(tmp_path: Path, start: str, needed: int) -> None:
    frames = [frame(mac(1 + i % 3), 9, bytes([i])) for i in range(30)]
    (tmp_path / "in").write_bytes(pcap(frames))
    with rig(vfs=3, uplink=f"pcap:{tmp_path}/in{start}") as r:
        for up in range(needed):
            assert r.plane.wire()["capture_waits"] == 1, f"{up} VFs are up"
            assert r.plane.wire()["received"] == 0
            r.vfs[up].map_all()
            r.vfs[up].publish()  # active, but it receives nothing yet
            assert r.plane.wire()["received"] == 0
            r.vfs[up].start()
        assert played(r)["unmatched"] == 10 * (3 - needed)
        for vf in r.vfs[:needed]:
            got = [vf.take().data for _ in range(10)]
            assert got == frames[vf.index :: 3]


@pytest.mark.parametrize("start", ["all", "3", "64"])
def test_a_capture_may_wait_for_all(tmp_path: Path, start: str) -> None:
    frames = [frame(mac(1 + i % 3), 9, bytes([i])) for i in range(30)]
    (tmp_path / "in").write_bytes(pcap(frames))
    with rig(vfs=3, uplink=f"pcap:{tmp_path}/in,start={start}") as r:
        for vf in r.vfs:
            assert r.plane.wire()["capture_waits"] == 1
            vf.open()
        for vf in r.vfs:
            assert [vf.take().data for _ in range(10)] == frames[vf.index :: 3]
        assert "unmatched" not in played(r)


def test_a_capture_may_wait_for_a_command(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(pcap([frame(mac(1), 9)]))
    with rig(uplink=f"pcap:{tmp_path}/in,{tmp_path}/out,start=command") as r:
        r.vfs[0].open()
        r.vfs[0].send(frame(mac(7), 1))
        r.vfs[0].settle()
        assert r.plane.wire()["capture_waits"] == 1
        r.plane.play()
        assert r.vfs[0].take().data == frame(mac(1), 9)
        assert played(r)["sent"] == 1
    assert (tmp_path / "out").read_bytes().endswith(frame(mac(7), 1))


def test_only_a_capture_can_be_played() -> None:
    with rig(uplink="loopback") as r, pytest.raises(OSError, match="not supported"):
        r.plane.play()


def test_a_capture_that_waits_for_nobody_is_lost(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(pcap([frame(mac(1), 9), frame(BROADCAST, 9)]))
    with rig(uplink=f"pcap:{tmp_path}/in,start=0") as r:
        assert played(r)["unmatched"] == 2
        r.vfs[0].open()
        assert empty(*r.vfs)


@pytest.mark.parametrize("start", ["", "-1", "65", "1x", "0x1", " 1", "up", "1e1"])
def test_starts_that_cannot_be(tmp_path: Path, start: str) -> None:
    (tmp_path / "in").write_bytes(pcap([]))
    with pytest.raises(ValueError, match=r"so many VFs must be up .*: 0 to 64, all, or command"):
        DataPlane(1, bar_size=0x10000, uplink=f"pcap:{tmp_path}/in,start={start}")


def test_a_third_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(pcap([]))
    with pytest.raises(ValueError, match='"x" is a third file'):
        DataPlane(1, bar_size=0x10000, uplink=f"pcap:{tmp_path}/in,{tmp_path}/out,x")


def test_frames_that_come_while_the_wire_is_down_are_lost(tmp_path: Path) -> None:
    frames = [frame(mac(1), 9, i.to_bytes(2, "big")) for i in range(600)]
    (tmp_path / "in").write_bytes(pcap(frames))
    with rig(uplink=f"pcap:{tmp_path}/in", ring=64) as r:
        a = r.vfs[0]
        a.open()
        wait_for(lambda: a.filled() > 30, "the first frames")
        r.plane.set_link(False)
        wire = played(r)
        before = 600 - wire["link_down"]
        assert 30 < before <= 64  # the ring holds back what comes before
        assert wire["received"] == 600
        r.plane.set_link(True)
        assert [a.take().data for _ in range(before)] == frames[:before]
        time.sleep(0.02)
        assert empty(a), "nothing of it comes after the link is up again"
        assert any("came while the wire was down: lost" in note for note in notes(r))


def test_a_capture_does_not_begin_while_the_wire_is_down(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(pcap([frame(mac(1), 9)] * 3))
    with rig(uplink=f"pcap:{tmp_path}/in") as r:
        r.plane.set_link(False)
        r.vfs[0].open()
        time.sleep(0.02)
        assert r.plane.wire()["capture_waits"] == 1
        r.plane.set_link(True)
        assert "link_down" not in played(r)
        assert r.vfs[0].filled() == 3


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
            r.plane.set_link(False)
            for number in range(5):
                wire.send(frame(mac(1), 9, b"while down %d" % number))
            wait_for(lambda: r.plane.wire()["link_down"] == 5, "lost frames")
            r.plane.set_link(True)
            wire.send(frame(mac(1), 9, b"after"))
            assert a.take().data == frame(mac(1), 9, b"after")
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
