# SPDX-License-Identifier: BSD-3-Clause
"""Replays: what arrives, and on the wire, is what the file has, so often as it was asked for."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from scapy.utils import RawPcapReader

import iavfio
from iavfio.capture import Replay, Timing, load, parse_rule
from iavfio.capture import replay as module
from iavfio.capture.records import ReplayRecord
from iavfio.errors import ConfigError
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.capture.files import write_pcap
from tests.capture.test_command import CLI, SIGNALS, default_signals
from tests.port.rig import collect, pressed_once, udp, until

A, B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
FRAMES = [udp(B, A, sport=i, payload=bytes([i]) * (18 + 3 * i)) for i in range(100)]
MAX = Timing()


@pytest.fixture
def pf() -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=2, uplink="none") as made:
        yield made


def opened(pf: SoftPf, vf: int, **settings: Any) -> Port:
    port = iavfio.open(pf.sockets[vf])
    port.configure(**settings)
    port.start(wait_link=10)
    return port


def to(dst: bytes, src: bytes, frames: list[bytes]) -> list[bytes]:
    return [dst + src + frame[12:] for frame in frames]


@pytest.mark.parametrize(
    "timing", [MAX, Timing(speed=1e6), Timing(pps=1e5), Timing(bps=1e8)], ids=str
)
@pytest.mark.parametrize("rounds", [1, 3])
def test_every_frame_arrives_in_order_in_each_round(
    pf: SoftPf, tmp_path: Path, timing: Timing, rounds: int
) -> None:
    write_pcap(tmp_path / "a", FRAMES)
    with opened(pf, 0) as sender, opened(pf, 1) as receiver:
        rules = [parse_rule("src-mac=own"), parse_rule(f"dst-mac={receiver.mac.hex(':')}")]
        replay = Replay(sender, load(tmp_path / "a"), timing=timing, rounds=rounds, rules=rules)
        done = replay.run()
        found = collect(receiver.rx, rounds * len(FRAMES))
    assert found == to(receiver.mac, sender.mac, FRAMES) * rounds
    assert (done.ended_by, done.error, done.lost, done.unsent) == ("done", None, {}, 0)
    assert done.counts.sent == done.on_wire == rounds * len(FRAMES)
    assert done.counts.rounds == rounds and done.whole
    assert done.counts.bytes == rounds * sum(map(len, FRAMES))


@pytest.mark.parametrize("step", ["drain", "sample"])
def test_a_signal_after_the_last_frame_keeps_the_result(
    pf: SoftPf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_pcap(tmp_path / "a", FRAMES)
    with opened(pf, 0) as sender:
        rules = [parse_rule("src-mac=own")]
        replay = Replay(sender, load(tmp_path / "a"), timing=MAX, rules=rules)
        pressed = pressed_once(monkeypatch, module, step)
        done = replay.run()
    assert pressed == [step] and isinstance(done.interrupted, KeyboardInterrupt)
    assert done.ended_by == "done" and done.counts.sent == done.on_wire == len(FRAMES)


def test_long_frames_go_out_in_one_piece(pf: SoftPf, tmp_path: Path) -> None:
    sizes = (60, 2047, 2048, 2049, 4096, 4097, 9000, 61)
    frames = [udp(B, A, payload=bytes(i % 251 for i in range(size - 42))) for size in sizes]
    write_pcap(tmp_path / "a", frames, snaplen=65535)
    with opened(pf, 0, mtu=9000) as sender, opened(pf, 1, mtu=9000) as receiver:
        rules = [parse_rule("src-mac=own"), parse_rule(f"dst-mac={receiver.mac.hex(':')}")]
        done = Replay(sender, load(tmp_path / "a"), timing=MAX, rounds=5, rules=rules).run()
        found = collect(receiver.rx, 5 * len(frames))
    assert found == to(receiver.mac, sender.mac, frames) * 5
    assert done.whole


def test_a_ring_that_is_full_again_and_again_loses_nothing(pf: SoftPf, tmp_path: Path) -> None:
    write_pcap(tmp_path / "a", FRAMES)
    with opened(pf, 0, ring=64) as sender:
        done = Replay(
            sender, load(tmp_path / "a"), timing=MAX, rounds=200, rules=[parse_rule("src-mac=own")]
        ).run()
        assert done.counts.sent == done.on_wire == 200 * len(FRAMES)
        assert sender.tx[0].in_flight == 0
        assert until(lambda: sender.pool.idle == sender.pool.size - 64)


def test_what_cannot_be_sent_is_left_out_by_reason(pf: SoftPf, tmp_path: Path) -> None:
    frames = [*FRAMES[:5], b"x" * 16, udp(B, A, payload=bytes(1600)), b"y" * 10]
    write_pcap(tmp_path / "a", frames)
    raw = bytearray((tmp_path / "a").read_bytes())
    raw[24 + 12 : 24 + 16] = (99).to_bytes(4, "little")  # the first one was longer on the wire
    (tmp_path / "a").write_bytes(raw)
    with opened(pf, 0) as sender:
        replay = Replay(sender, load(tmp_path / "a"), timing=MAX)
        assert replay.left_out == {"cut": 1, "too_short": 2, "too_long": 1}
        assert len(replay.frames) == 4
        write_pcap(tmp_path / "b", [b"x" * 16])
        with pytest.raises(ConfigError, match="there is no frame to send"):
            Replay(sender, load(tmp_path / "b"))


def test_a_reset_delays_a_replay_and_its_losses_are_told(pf: SoftPf, tmp_path: Path) -> None:
    write_pcap(tmp_path / "a", FRAMES)
    with opened(pf, 0) as sender:
        resets: list[bool] = []

        def reset(seconds: float, counts: object) -> None:
            if not resets:
                pf.control("reset", vf=0)
                resets.append(True)

        replay = Replay(
            sender, load(tmp_path / "a"), timing=Timing(pps=2000), rounds=60,
            rules=[parse_rule("src-mac=own")],
        )  # fmt: skip
        done = replay.run(progress=reset)
        assert (done.ended_by, done.error) == ("done", None)
        assert done.counts.sent == 6000
        assert done.resets == 1
        assert done.completed + done.lost.get("sq_drop_reset", 0) == 6000
        assert 0 < done.on_wire <= done.completed


# ---- the command


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLI, "replay", *arguments], timeout=60, check=False,
        **{"capture_output": True, "text": True} | options,
    )  # fmt: skip


def test_the_wire_has_what_the_file_has(tmp_path: Path) -> None:
    wire, path = tmp_path / "wire.pcap", tmp_path / "a.pcap.gz"
    write_pcap(path, FRAMES)
    path.write_bytes(gzip.compress(path.read_bytes()))
    done = run(
        "softvf", str(path), "--timing", "max", "--loop", "2", "--json", "--uplink",
        f"pcap:,{wire}", "--rewrite", "dst-mac=02:00:00:00:00:99",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    record = msgspec.json.decode(done.stdout, type=ReplayRecord)
    assert record.sent == record.on_wire == 200 and record.frames == 100
    found = [data for data, _ in RawPcapReader(str(wire))]
    assert [data[12:] for data in found] == [frame[12:] for frame in FRAMES] * 2
    assert {data[:6].hex() for data in found} == {"020000000099"}
    assert len({data[6:12] for data in found}) == 1 and found[0][6:12] != A


def test_frames_that_vanish_are_told_and_make_it_fail(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    write_pcap(path, FRAMES)
    done = run("softvf", str(path), "--timing", "max", "--rewrite", "src-mac=keep")
    assert done.returncode == 1
    assert "on the wire by the PF's count: 0" in done.stderr
    assert "not on the wire: 100; counted as lost: tx_errors 100" in done.stderr


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_an_endless_replay_with_its_summary(
    tmp_path: Path, number: signal.Signals
) -> None:
    path, wire = tmp_path / "a.pcap", tmp_path / "wire.pcap"
    write_pcap(path, FRAMES)
    child = subprocess.Popen(
        [*CLI, "replay", "softvf", str(path), "--rate", "1000", "--loop", "0", "--uplink",
         f"pcap:,{wire}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=default_signals,
    )  # fmt: skip
    try:
        assert until(lambda: wire.exists() and wire.stat().st_size > 4000, 60)
    finally:
        child.send_signal(number)
        out, error = child.communicate(timeout=60)
    assert (child.returncode, out) == (128 + number, "")
    assert "ended by: a signal" in error
    assert "Traceback" not in error


def test_a_cut_file_names_the_record(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    write_pcap(path, FRAMES)
    path.write_bytes(path.read_bytes()[:-1])
    done = run("softvf", str(path))
    assert done.returncode == 1
    assert "is cut or damaged at record 100" in done.stderr


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    write_pcap(path, FRAMES[:1])
    with Path("/dev/full").open("w") as full:
        done = run("softvf", str(path), "--json", capture_output=False, stdout=full,
                   stderr=subprocess.PIPE)  # fmt: skip
    assert done.returncode == 1
    assert "stdout takes no more" in done.stderr


WRONG = {
    "no file": (["softvf", "/nowhere/a.pcap"], "does not exist"),
    "no capture": (["softvf", __file__], "is no capture file"),
    "two speeds": (["softvf", __file__, "--rate", "1", "--timing", "max"], "use one of them"),
    "rate": (["softvf", __file__, "--rate", "fast"], "is no rate"),
    "timing": (["softvf", __file__, "--timing", "x0"], "is no timing"),
    "rule": (["softvf", __file__, "--rewrite", "srcmac=own"], "did you mean src-mac?"),
}


@pytest.mark.parametrize(("arguments", "words"), WRONG.values(), ids=WRONG)
def test_wrong_use_says_what_is_right(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr


def test_help_and_schema() -> None:
    text = " ".join(run("--help").stdout.split())
    assert "Example: iavfio replay 0000:3b:02.0" in text
    done = subprocess.run(
        [sys.executable, "-P", "-m", "iavfio.cli", "schema", "replay"],
        text=True, timeout=60, check=True, capture_output=True,
    )  # fmt: skip
    record = json.loads(done.stdout)["$defs"]["ReplayRecord"]
    assert record["properties"]["schema"] == {"enum": ["iavfio.replay.summary/1"]}
