# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio capture PORT`: the port of another process."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from iavfio.capture import Mirror, MirrorCapture
from iavfio.capture.records import CaptureRecord
from iavfio.cli import run
from iavfio.port.port import Port
from tests.capture.files import records, statistics
from tests.capture.mirror.rig import CLI, Owner, sides
from tests.capture.pcap_oracle import library
from tests.port.rig import collect, send_all, udp, until


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
