# SPDX-License-Identifier: BSD-3-Clause
"""Who may have a mirror, what is said to a port's door, and ends of all kinds, at either side."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio.capture import Mirror, MirrorCapture
from iavfio.capture import mirror as mirror_module
from iavfio.errors import ConfigError, IavfioError
from iavfio.port import mirroring
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from iavfio.stats import door
from iavfio.stats.listing import find
from tests.capture.files import records, statistics
from tests.capture.mirror.rig import CLI, Owner, numbered, taken
from tests.port.rig import collect, send_all, until
from tests.stats.others import NOBODY, in_child


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


class Looks:
    """Counts looks whether a process has answered, of which each lasts as long as it may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self._select = select.select
        monkeypatch.setattr(select, "select", self._look)

    def _look(self, read: Any, write: Any, other: Any, seconds: float) -> Any:
        self.seconds += seconds
        return self._select(read, write, other, 0.0)


# docs/spec/reliability.md F66
def test_a_process_that_is_stopped_has_no_two_seconds_after_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Owner("stopped", "lines") as owner:
        assert owner.child.stdin is not None
        mirror = Mirror("stopped")
        capture = MirrorCapture(mirror, str(tmp_path / "a.pcapng"))
        owner.child.stdin.write("\n" * 5)
        owner.child.stdin.flush()
        assert until(lambda: mirror.counts.received >= 5)
        owner.child.send_signal(signal.SIGSTOP)
        there = mirror.waiting
        looks = Looks(monkeypatch)

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(mirror_module, "watch", interrupt)
        captured = capture.run()
        assert looks.seconds < 2 * mirror_module.HURRY
    assert (captured.ended_by, captured.error) == ("signal", None)
    assert captured.interrupted is not None
    assert captured.counts.taken == len(records(tmp_path / "a.pcapng")) == there
    assert statistics(tmp_path / "a.pcapng")


def test_a_signal_cuts_the_wait_for_a_process_that_is_stopped_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Owner("stopped", "lines") as owner:
        mirror = Mirror("stopped")
        owner.child.send_signal(signal.SIGSTOP)
        looks, after = Looks(monkeypatch), iter([False] * 10)
        assert not mirror.end(lambda: next(after, True))
        assert looks.seconds < 10 * mirror_module.LOOK + 2 * mirror_module.HURRY
        assert not mirror.end()  # twice is harmless


def test_a_process_that_is_silent_may_write_on_without_end(
    port: Port, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in its rings when it should end is taken, and nothing that comes afterwards."""
    mirror = Mirror("mirrored")
    taken_then: list[int] = []

    class GoesOn(MirrorCapture):
        def _fill(self, until: int) -> int:
            if len(taken_then) > 9:
                raise RuntimeError("it takes what comes after its end")
            taken_then.append(mirror.read)
            send_all(port, numbered(port, port, 3))
            return super()._fill(until)

    with monkeypatch.context() as silent:
        silent.setattr(Mirror, "end", lambda *_: False)
        captured = GoesOn(mirror, str(tmp_path / "a.pcapng")).run(0)
    mirror.end()
    assert captured.error is None
    assert captured.counts.taken < captured.counts.received
