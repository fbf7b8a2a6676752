# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio punt` from the outside: the kernel answers pings on a VF; words, records, signals."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import iavfio
from iavfio.cli import run
from iavfio.punt.records import PuntInterval, PuntRecord
from iavfio.softvf.launch import SoftPf
from tests.capture.pcap_oracle import library
from tests.capture.test_command import CLI, default_signals
from tests.port.rig import until
from tests.punt import kernel

# In a network namespace of its own, in which IPv6 addresses work at once.
QUIETLY = "; ".join(
    f"echo {value} > /proc/sys/net/ipv6/conf/default/{name}" for name, value in kernel.QUIET.items()
)
APART = ["unshare", "-n", "sh", "-c", f'{QUIETLY}; exec "$@"', "sh"]
Capture = pytest.CaptureFixture[str]
Process = subprocess.Popen[str]


@contextmanager
def punting(*words: str) -> Iterator[Process]:
    """The command in a network namespace of its own."""
    with subprocess.Popen(
        [*APART, *CLI, "punt", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=default_signals,
    ) as child:  # fmt: skip
        try:
            yield child
        finally:
            child.kill()


def interfaces(namespace: kernel.Namespace) -> list[str]:
    return namespace.run(lambda: [name for _, name in socket.if_nameindex()])


def entered(stack: ExitStack, child: Process, tap: str) -> kernel.Namespace:
    """The namespace of a command that has made its TAP there."""
    here, there = Path("/proc/self/ns/net"), Path(f"/proc/{child.pid}/ns/net")
    assert until(lambda: there.readlink() != here.readlink(), 60)
    namespace = stack.enter_context(kernel.Namespace(child.pid))
    assert until(lambda: tap in interfaces(namespace) or child.poll() is not None, 60)
    return namespace


def summary(child: Process, number: signal.Signals) -> PuntRecord:
    """The record of a command that a signal ends; its numbers add up."""
    child.send_signal(number)
    out, error = child.communicate(timeout=60)
    assert (child.returncode, error) == (128 + number, "")
    record = msgspec.json.decode(out, type=PuntRecord)
    up, down = record.to_tap, record.from_tap
    assert record.received == up.packets + record.not_selected
    assert up.packets == up.delivered + sum(up.drops.values())
    assert down.frames == down.sent + sum(down.drops.values())
    assert (record.ended_by, record.error, record.drops) == ("signal", None, {})
    return record


def test_kernels_ping_each_other_over_two_vfs(pf: SoftPf) -> None:
    kernel.require()
    ends = ((1, "one", signal.SIGTERM), (2, "two", signal.SIGINT))
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                punting(pf.sockets[n - 1], "--tap", tap, "--address", f"192.0.2.{n}/24",
                        "--address", f"2001:db8::{n}/64", "--json")
            )
            for n, tap, _ in ends
        ]  # fmt: skip
        spaces = [
            entered(stack, child, tap) for child, (_, tap, _) in zip(children, ends, strict=True)
        ]
        assert spaces[0].run(lambda: kernel.echoes("192.0.2.2")) == 3
        assert spaces[1].run(lambda: kernel.echoes("2001:db8::1")) == 3
        if ping := shutil.which("ping"):
            done = spaces[0].run(
                lambda: subprocess.run([ping, "-c", "3", "-i", "0.01", "192.0.2.2"])
            )
            assert done.returncode == 0
        records = [
            summary(child, number) for child, (_, _, number) in zip(children, ends, strict=True)
        ]
        for record, namespace, (_, tap, _) in zip(records, spaces, ends, strict=True):
            assert record.tap == tap and record.to_tap.delivered >= 8  # 6 echoes, ARP, ND
            assert record.from_tap.sent >= 8 and record.not_selected == record.from_tap.unread == 0
            assert interfaces(namespace) == ["lo"]


def test_lines_of_intervals_and_what_a_filter_leaves_out(busy: SoftPf, capsys: Capture) -> None:
    kernel.require()
    words = ["--duration", "0.6", "--interval", "0.2", "--json"]
    assert run(["punt", busy.sockets[0], "--tap", f"a{os.getpid()}", *words]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    intervals = [msgspec.json.decode(line, type=PuntInterval) for line in lines]
    record = msgspec.json.decode(last, type=PuntRecord)
    assert 1 <= len(intervals) <= 3
    assert all(each.link_up and each.state == "running" for each in intervals)
    assert 0 < sum(each.received for each in intervals) <= record.received
    assert record.not_selected == record.received and record.to_tap.packets == 0
    assert (record.ended_by, record.device) == ("duration", busy.sockets[0])


def test_everything_is_punted_and_told_in_words(busy: SoftPf, capsys: Capture) -> None:
    kernel.require()
    tap = f"b{os.getpid()}"
    words = ["--all", "--duration", "0.3", "--interval", "0.1", "--name", "p"]
    assert run(["punt", busy.sockets[0], "--tap", tap, *words]) == 0
    said = capsys.readouterr()
    assert f"everything of port p to the interface {tap} and back" in said.err
    assert "0 not selected and dropped; ended by: its time is over" in said.err
    assert " delivered" in said.err.split(f"\nto {tap}: ")[1].split("\n")[0]
    assert " 0 not selected; to " in said.out


@pytest.mark.parametrize(
    ("expression", "selected"),
    [("udp dst port 9 and src net 198.18.0.0/15", True), ("udp dst port 53 or arp", False)],
)
def test_what_libpcap_compiles_selects(
    busy: SoftPf, capsys: Capture, expression: str, selected: bool
) -> None:
    """The wire sends UDP from 198.18.0.1 to port 9."""
    kernel.require()
    library()
    words = ["--duration", "0.2", "--json", *expression.split()]
    assert run(["punt", busy.sockets[0], "--tap", f"c{os.getpid()}", *words]) == 0
    record = msgspec.json.decode(capsys.readouterr().out, type=PuntRecord)
    assert record.received > 0 and record.filter == expression
    assert record.to_tap.packets == (record.received if selected else 0)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--tap", "a/b"], "cannot name a network interface"),
        (["--tap", "x" * 16], "at most 15 characters"),
        (["--tap", "lo"], "there is a network interface lo"),
        (["--tap", "vf0", "--address", "192.0.2.1"], "192.0.2.1/24"),
        (["--tap", "vf0", "--all", "arp"], "both say what is punted"),
        (["--tap", "vf0", "udp", "prot", "53"], "prot"),
        ([], "Missing option '--tap'"),
    ],
)
def test_wrong_use(words: list[str], why: str, capsys: Capture) -> None:
    library()
    assert run(["punt", "softvf", *words]) == 2
    assert why in capsys.readouterr().err


def test_without_the_capability_it_is_named() -> None:
    kernel.require()
    if not (setpriv := shutil.which("setpriv")):
        pytest.skip("there is no setpriv: apt-get install util-linux")
    without: list[Any] = [setpriv, "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    done = subprocess.run(
        [*without, *CLI, "punt", "softvf", "--tap", "vf0"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "CAP_NET_ADMIN" in done.stderr and "run: sudo" in done.stderr


def test_the_device_dies_meanwhile() -> None:
    kernel.require()
    with iavfio.softvf(uplink="none") as pf, ExitStack() as stack:
        child = stack.enter_context(punting(pf.sockets[0], "--tap", "vf0", "--json"))
        namespace = entered(stack, child, "vf0")
        assert until(lambda: pf.control("snapshot", vf=0)["snapshot"]["macs"] != [], 60)
        os.kill(pf.pid, signal.SIGKILL)
        out, error = child.communicate(timeout=60)
        assert child.returncode == 1 and "Traceback" not in error
        assert msgspec.json.decode(out)["error"]
        assert interfaces(namespace) == ["lo"]
