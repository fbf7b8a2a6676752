# SPDX-License-Identifier: BSD-3-Clause
"""Mirrors of running ports: every frame, every loss, and ends of all kinds, at either side."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

import iavfio
from iavfio.capture import Filter, Mirror, MirrorCapture
from iavfio.capture.filter import STEP
from iavfio.capture.records import CaptureRecord
from iavfio.cli import run
from iavfio.datapath.worker import Lane, VerifyTable, Worker
from iavfio.errors import ConfigError, IavfioError
from iavfio.port import mirroring
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from iavfio.stats import door
from iavfio.stats.listing import find
from tests.capture.files import blocks, options, records, statistics
from tests.capture.pcap_oracle import library
from tests.port.rig import collect, send_all, udp, until
from tests.stats.others import NOBODY, in_child

CLI = [sys.executable, "-P", "-m", "iavfio.cli", "capture"]
OWNER = """
import sys, iavfio
pf = iavfio.softvf(vfs=1, uplink="none")
port = iavfio.open(pf.sockets[0], name=sys.argv[1])
port.start(wait_link=10)
print("up", flush=True)
frame = [port.mac + port.mac + bytes(48)]
while sys.argv[2] == "sends" or sys.stdin.readline():
    with port.tx[0].build(frame) as burst:
        port.tx[0].send(burst)
    with port.rx[0].recv(timeout=0.002):
        pass
port.close()
"""
SHORT_PORTS = [(0x28, 0, 0, 34), (0x15, 0, 1, 1005), (6, 0, 0, 0xFFFF), (6, 0, 0, 0)]


@pytest.fixture(scope="module")
def pf() -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=2, uplink="none") as made:
        yield made


@pytest.fixture
def port(pf: SoftPf) -> Iterator[Port]:
    with iavfio.open(pf.sockets[0], name="mirrored") as opened:
        opened.start(wait_link=10)
        yield opened


@pytest.fixture
def peer(pf: SoftPf) -> Iterator[Port]:
    with iavfio.open(pf.sockets[1], name="peer") as opened:
        opened.start(wait_link=10)
        yield opened


class Owner:
    """Another process with a port that sends to itself: all the time, or once a line of stdin."""

    def __init__(self, name: str, how: str = "sends") -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", OWNER, name, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.child.stdout is not None
        assert self.child.stdout.readline() == "up\n"

    @property
    def holds(self) -> bool:
        """Whether it has memory of a mirror, as a descriptor or a mapping."""
        home = Path(f"/proc/{self.child.pid}")
        links = [str(each.readlink()) for each in (home / "fd").iterdir() if each.is_symlink()]
        return any("iavfio-mirror" in each for each in [*links, (home / "maps").read_text()])

    def __enter__(self) -> Owner:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.communicate()


def numbered(to: Port, by: Port, count: int, size: int = 18) -> list[bytes]:
    return [
        udp(to.mac, by.mac, sport=1000 + i, payload=bytes([i % 256]) * size) for i in range(count)
    ]


def sides(path: Path) -> list[tuple[int, int]]:
    """Direction (1: received, 2: sent) and queue of each frame."""
    found = []
    for kind, body in blocks(path):
        if kind == 6:
            (kept,) = struct.unpack_from("=I", body, 12)
            given = options(body, 20 + kept + -kept % 4)
            found.append((int.from_bytes(given[2], "little"), int.from_bytes(given[6], "little")))
    return found


def taken(mirror: Mirror, path: Path, **how: Any) -> Any:
    """What a mirror holds at this moment, in a file."""
    return MirrorCapture(mirror, str(path), **how).run(0)


def test_every_frame_of_both_directions(port: Port, peer: Port, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    came, went = numbered(port, peer, 150), numbered(peer, port, 100, 700)
    send_all(peer, came[:50])  # before the mirror
    assert collect(port.rx, 50) == came[:50]
    mirror = Mirror("mirrored")
    assert mirror.sides == [(0, False), (0, True)] and mirror.mac == port.mac
    send_all(peer, came[50:])
    assert collect(port.rx, 100) == came[50:]
    send_all(port, went)
    done = taken(mirror, path)
    found = records(path)
    assert [each.data for each in found] == came[50:] + went
    assert sides(path) == [(1, 0)] * 100 + [(2, 0)] * 100
    assert [each.time_ns for each in found] == sorted(each.time_ns for each in found)
    assert {each.interface for each in found} == {"mirrored"}
    assert (done.ended_by, done.error, done.drops, done.waiting) == ("duration", None, {}, 0)
    assert done.counts.received == done.counts.taken == 200
    assert done.counts.bytes == sum(map(len, came[50:] + went))
    assert statistics(path)["received"] == statistics(path)["delivered"] == 200
    assert collect(peer.rx, 100) == went  # the port goes on
    send_all(peer, came)
    assert collect(port.rx, 150) == came


def test_filter_snaplen_direction_and_limit(port: Port, peer: Port, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    chosen = Filter.of_steps(np.array(SHORT_PORTS, dtype=STEP), "udp src port 1005")
    mirror = Mirror("mirrored", direction="rx", filter=chosen, snaplen=40)
    frames = numbered(port, peer, 10)
    for _ in range(3):
        send_all(peer, frames)
        assert collect(port.rx, 10) == frames
        send_all(port, numbered(peer, port, 10))
    done = taken(mirror, path, filter=chosen, limit=2)
    assert [each.data for each in records(path)] == [frames[5][:40]] * 2
    assert {each.length for each in records(path)} == {60}
    assert (done.counts.received, done.counts.taken, done.waiting) == (30, 2, 1)
    assert done.ended_by == "count" and done.counts.cut == 3


def test_a_tag_that_the_device_strips_is_put_back(pf: SoftPf, peer: Port, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with iavfio.open(pf.sockets[0], name="stripping") as port:
        port.configure(metadata=["vlan"])
        port.start(wait_link=10)
        plain = udp(b"\xff" * 6, peer.mac)
        tagged = plain[:12] + bytes.fromhex("81000064") + plain[12:]
        mirror = Mirror("stripping", direction="rx")
        send_all(peer, [plain, tagged])
        got = collect(port.rx, 1, 5)
        done = taken(mirror, path)
        found = [each.data for each in records(path)]
        assert len(got) >= 1 and plain in found
        assert done.counts.tagged == found.count(tagged)


def test_losses_are_told_exactly_by_queue(port: Port, peer: Port, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    mirror = Mirror("mirrored", memory=0)  # rings of the least size, 32 KiB
    frames = numbered(port, peer, 600)
    for i in range(0, 600, 200):
        send_all(peer, frames[i : i + 200])
        assert collect(port.rx, 200) == frames[i : i + 200]
    kept = 32768 // (16 + 64)  # a record's head, and 60 bytes padded to 64
    assert mirror.lost == {"mirror_rq0": 600 - kept}
    done = taken(mirror, path)
    assert [each.data for each in records(path)] == frames[:kept]
    assert done.drops == {"mirror_rq0": 600 - kept} and done.dropped == 600 - kept
    assert statistics(path) == {
        "received": 600, "dropped": 600 - kept, "accepted": 600, "os_dropped": 0,
        "delivered": kept,
    }  # fmt: skip


def test_what_lies_in_the_rings_at_the_end_is_written(
    port: Port, peer: Port, tmp_path: Path
) -> None:
    """More than the reader takes between two looks at the clock."""
    path, frames = tmp_path / "a.pcapng", numbered(port, peer, 200)
    mirror = Mirror("mirrored", direction="rx")
    for _ in range(4):
        send_all(peer, frames)
        assert collect(port.rx, len(frames)) == frames
    done = taken(mirror, path)
    assert [each.data for each in records(path)] == frames * 4
    assert (done.counts.taken, done.waiting) == (800, 0)


def test_workers_forward_verified_traffic_meanwhile(port: Port, peer: Port, tmp_path: Path) -> None:
    """Mirrors come and go while C workers run; no frame is lost, and none is missing in a count."""
    table = VerifyTable(1, 1)
    lane = Lane(peer.rx[0], dst=port.mac, src=peer.mac)
    forward = Worker("forward", [Lane(port.rx[0])])
    source = Worker("loopback", [lane], verify=table, signature=7, rate=20000)
    try:
        for number in range(4):
            mirror = Mirror("mirrored", snaplen=64)
            assert until(partial(_has_moved, mirror, 400))
            done = taken(mirror, tmp_path / f"{number}.pcapng")
            lost = done.dropped
            assert done.counts.received == done.counts.taken + lost > 400
        source.finish()
        assert until(lambda: source.ended, 30)
    finally:
        source.stop()
        counters = source.counters
        forward.stop()
    assert counters.lost == counters.corrupted == counters.duplicated == counters.reordered == 0
    assert counters.received > 1600


def _has_moved(mirror: Mirror, frames: int) -> bool:
    return mirror.counts.received > frames


def test_it_goes_on_over_resets_and_new_settings(port: Port, peer: Port, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    mirror = Mirror("mirrored")
    capture = MirrorCapture(mirror, str(path))
    frames = numbered(port, peer, 10)

    def moves() -> None:
        port.wait_link(10)
        send_all(peer, frames)
        assert sorted(collect(port.rx, 10)) == sorted(frames)
        send_all(port, frames)

    moves()
    port.reset()
    moves()
    port.stop()
    port.configure(ring=256)
    port.start()
    moves()
    done = capture.run(0)
    assert done.resets == 1 and done.error is None
    assert [each.data for each in records(path)].count(frames[3]) == 3 * 2
    assert len(records(path)) == 3 * 20


def test_a_second_reader_is_told_who_has_it(port: Port) -> None:
    first = Mirror("mirrored")
    with pytest.raises(IavfioError, match=f"process {os.getpid()} of .* has a mirror of it"):
        Mirror("mirrored")
    first.end()
    Mirror("mirrored").end()


def test_what_there_is_not_is_refused(port: Port) -> None:
    with pytest.raises(ConfigError, match=r"^port 'mirrored' has no queue 3"):
        Mirror("mirrored", queues=[3])
    with pytest.raises(ConfigError, match="no port named"):
        Mirror("nobody")
    with pytest.raises(ConfigError, match="direction"):
        Mirror("mirrored", direction="up")
    Mirror("mirrored", queues=[0]).end()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_user_may_not_see_frames(pf: SoftPf, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as shared:
        Path(shared).chmod(0o1777)
        monkeypatch.setenv("IAVFIO_RUNTIME_DIR", shared)
        _may_not_peep(pf)


def _may_not_peep(pf: SoftPf) -> None:
    with iavfio.open(pf.sockets[0], name="open", stats_mode=0o644):

        def peep() -> None:
            find("open").snapshot()  # counters are for everybody here
            with pytest.raises(IavfioError, match="only its owner, root, and root may"):
                Mirror("open")

        assert in_child(peep, uid=NOBODY) == 0


WORDS = {
    "empty": b"{}",
    "no JSON": b"\xff\xfe",
    "version": b'{"version": 2}',
    "ring": json.dumps({"version": 1, "ring": 40000}).encode(),
    "huge": json.dumps({
        "version": 1, "ring": 1 << 30, "steps": "", "queues": [], "rx": True, "tx": True,
        "snaplen": 64,
    }).encode(),
    "filter": json.dumps({
        "version": 1, "ring": 32768, "steps": "00" * 8, "queues": [], "rx": True, "tx": True,
        "snaplen": 64,
    }).encode(),
}  # fmt: skip


def test_strange_requests_are_refused_and_the_port_goes_on(port: Port) -> None:
    for word in WORDS.values():
        with door.connect(find("mirrored")) as connection:
            connection.settimeout(10)
            connection.send(word)
            assert b'"refused"' in connection.recv(4096)
            assert until(lambda: port.control.mirroring.caller is None)
    door.connect(find("mirrored")).close()  # one that says nothing, and may be let in late
    assert until(_granted)


def _granted() -> bool:
    try:
        Mirror("mirrored").end()
    except IavfioError as error:
        assert "has a mirror of it" in str(error)
        return False
    return True


def test_a_process_that_lies_is_not_believed(
    port: Port, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    good = {
        "version": 1, "rings": [[0, False]], "ring": 32768, "device": "d", "transport": "t",
        "family": "f", "mac": "02:00:00:00:00:01", "mbps": 1,
    }  # fmt: skip
    before = _mirrors()
    open_fd = os.memfd_create("short", os.MFD_ALLOW_SEALING)
    os.ftruncate(open_fd, 4096 + 32768)
    changes: tuple[dict[str, object], ...] = (
        {}, {"rings": []}, {"ring": 3}, {"mac": "xx"}, {"mbps": -1}, {"version": 9},
    )  # fmt: skip
    for change in changes:
        word = json.dumps(good | change).encode()
        ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        monkeypatch.setattr(door, "connect", lambda reader, ours=ours: ours)
        socket.send_fds(other, [word], [open_fd])
        with pytest.raises(IavfioError, match="cannot be mirrored"):
            Mirror("mirrored")
        other.close()
    os.close(open_fd)
    assert _mirrors() == before


def _mirrors() -> list[str]:
    """Descriptors of this process that are of memory with such a name."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if "short" in (name := str(each.readlink())):
                found.append(name)
    return found


def test_nonsense_in_a_ring_ends_it_and_scribbling_hurts_the_reader_only(
    port: Port, peer: Port, tmp_path: Path
) -> None:
    path = tmp_path / "a.pcapng"
    mirror = Mirror("mirrored")
    mirror.controls[0].head += 17
    done = taken(mirror, path)
    assert "are no frames" in str(done.error) and records(path) == []
    mirror = Mirror("mirrored")
    for control in mirror.controls:
        control.tail, control.head, control.lost = 1 << 63, 5, 1 << 40
    frames = numbered(port, peer, 300)
    send_all(peer, frames)
    assert collect(port.rx, 300) == frames
    send_all(port, frames)
    mirror.end()


def test_a_reader_that_stands_still_is_let_go(
    port: Port, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mirroring, "STALL", 0.1)
    monkeypatch.setattr(mirroring, "LOOK", 0.05)
    mirror = Mirror("mirrored")
    time.sleep(0.3)
    assert mirror.ended() == "", "one that has nothing to read may wait"
    send_all(port, numbered(port, port, 5))
    assert until(lambda: mirror.ended() == "stalled")
    done = MirrorCapture(mirror, str(tmp_path / "a.pcapng")).run()
    assert "none was read" in str(done.error)
    assert len(records(tmp_path / "a.pcapng")) == 5  # sent, not received by anybody
    Mirror("mirrored").end()


def test_a_port_that_is_closed_ends_it(pf: SoftPf, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with iavfio.open(pf.sockets[0], name="brief") as port:
        port.start(wait_link=10)
        capture = MirrorCapture(Mirror("brief"), str(path))
        send_all(port, numbered(port, port, 9))
    assert not Path(f"{port.segment.home.path}/brief.door").exists()
    done = capture.run()
    assert (done.ended_by, done.error, done.counts.taken) == ("port", None, 9)
    assert len(records(path)) == 9


def test_a_forked_child_leaves_it_to_its_parent(port: Port, tmp_path: Path) -> None:
    mirror = Mirror("mirrored")

    def child() -> None:
        assert port.control.mirroring.door == -1
        port.control.mirroring.close()

    assert in_child(child) == 0
    send_all(port, numbered(port, port, 3))
    assert taken(mirror, tmp_path / "a.pcapng").counts.taken == 3


def test_either_side_may_be_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with Owner("killed") as owner:
        assert not owner.holds
        reader = subprocess.Popen([*CLI, "killed", "-w", str(path)], stderr=subprocess.PIPE)
        assert until(lambda: path.exists() and path.stat().st_size > 3000, 60)
        assert owner.holds
        reader.kill()
        reader.communicate()
        assert until(lambda: not owner.holds)
        capture = MirrorCapture(Mirror("killed"), str(path))
        threading.Timer(0.1, owner.child.kill).start()
        done = capture.run(60)
        assert done.ended_by == "error" and "has ended" in str(done.error)
        assert len(records(path)) == done.counts.taken == statistics(path)["delivered"]
        assert done.waiting == 0
    with pytest.raises(ConfigError, match="runs no longer"):
        Mirror("killed")


def test_the_command_captures_a_port_of_another_process(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with Owner("elsewhere") as owner:
        done = subprocess.run(
            [*CLI, "elsewhere", "-w", str(path), "-c", "40", "--direction", "tx", "--json"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        record = msgspec.json.decode(done.stdout, type=CaptureRecord)
        assert (record.port, record.mirrored, record.captured) == ("elsewhere", "tx", 40)
        assert len(records(path)) == 40 and set(sides(path)) == {(2, 0)}
        assert until(lambda: not owner.holds)
        child = subprocess.Popen(
            [*CLI, "elsewhere", "-w", str(path)], stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        assert until(lambda: path.stat().st_size > 9000, 60)
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=60)
        assert child.returncode == 130
        assert "mirroring elsewhere, until Ctrl-C, or until it is closed" in told
        assert "lost in the mirror: none" in told and "received and sent" in told


FILTERS = {
    "udp port 53": [0, 2, 4],
    "src port 1001 or dst port 53 and not greater 62": [0, 1],
}


@pytest.mark.parametrize("expression", FILTERS)
def test_a_filter_of_the_command_runs_in_the_ports_process(
    port: Port, peer: Port, tmp_path: Path, expression: str
) -> None:
    """libpcap compiles it in one process, the other runs it: what is left out crosses no ring."""
    library()
    path, dports = tmp_path / "a.pcapng", (53, 2000, 53, 5300, 53)
    frames = [
        udp(port.mac, peer.mac, sport=1000 + i, dport=dport, payload=bytes([i]) * (18 + i))
        for i, dport in enumerate(dports)
    ]
    with subprocess.Popen(
        [*CLI, "mirrored", "-w", str(path), "--direction", "rx", "--json", *expression.split()],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as child:  # fmt: skip
        assert until(lambda: port.control.mirroring.caller is not None, 60)
        assert until(path.exists, 60)
        send_all(peer, frames)
        assert collect(port.rx, len(frames)) == frames
        child.send_signal(signal.SIGINT)
        out, error = child.communicate(timeout=60)
    assert (child.returncode, error) == (130, "")
    record = msgspec.json.decode(out, type=CaptureRecord)
    wanted = [frames[i] for i in FILTERS[expression]]
    assert (record.filter, record.received, record.captured) == (expression, 5, len(wanted))
    assert [each.data for each in records(path)] == wanted


WRONG = {
    "expression": (["mirrored", "-w", "x", "udp", "prot", "53"], "prot"),
    "of a VF": (["mirrored", "-w", "x", "--mtu", "1500"], "--mtu is of a VF that this command"),
    "of a port": (["softvf", "-w", "x", "--direction", "tx"], "--direction is of a port"),
    "nobody": (["nobody", "-w", "x"], "'nobody' names no VF"),
    "nobody's port": (["nobody", "-w", "x"], "or a port that runs: "),
    "a path": (["no/body", "-w", "x"], "did you mean vfio-user:no/body?"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_use_is_told(port: Port, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    library()
    arguments, message = WRONG[what]
    assert run(["capture", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("value", [1 << 53, 1 << 63, (1 << 64) - 1])
def test_counts_that_no_port_can_have_are_an_error_and_the_file_is_whole(
    port: Port, tmp_path: Path, value: int
) -> None:
    mirror = Mirror(port.name)
    lie = SimpleNamespace(frames=value, bytes=value, cut=value, tagged=0, lost=value, written=0)
    mirror.controls = [lie] * len(mirror.controls)
    capture = MirrorCapture(mirror, str(tmp_path / "a.pcapng"))
    captured = capture.run(0.2)
    assert captured.error is not None
    assert "more than any port can have moved" in captured.error.cause
    assert statistics(tmp_path / "a.pcapng")["delivered"] == 0  # its last block is there
