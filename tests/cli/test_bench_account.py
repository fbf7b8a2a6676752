# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio bench`: as many packets as were asked for, and numbers that add up in every mode."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio.cli import run

TWO_CPUS = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
SHAPES = {
    "one VF": ["softvf"],
    "two VFs": ["softvf", "softvf"],
    "four queues": ["softvf", "--queues", "4"],
    "a worker a CPU": ["softvf", "softvf", "--queues", "2", "--cpus", TWO_CPUS],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["loopback", "txonly", "rxdrop", "forward"])
@pytest.mark.parametrize("count", [1, 33, 10007])
def test_count_is_the_number_of_packets_in_all(
    mode: str, shape: str, count: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also fewer packets than queues or workers, and a number that they do not divide."""
    status = run(["bench", *SHAPES[shape], "--mode", mode, "--count", str(count), "--json"])
    told = json.loads(capfd.readouterr().out)
    assert status == 0 and told["sound"]
    moved = {
        "loopback": ("sent", "received", "pf_sent"),
        "txonly": ("sent", "pf_sent"),
        "rxdrop": ("received",),
        "forward": ("received", "sent", "pf_sent"),
    }[mode]
    assert {name: told[name] for name in moved} == dict.fromkeys(moved, count)
    assert sum(row["packets"] for row in told["rows"]) == count
    assert told["in_flight"] == told["lost"] == 0


@pytest.mark.parametrize("mode", ["rxdrop", "forward"])
def test_what_lies_in_the_rings_explains_the_pfs_count(
    mode: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The PF counts a packet when it puts it into a ring, the queue when it takes it out."""
    assert run(["bench", "softvf", "--mode", mode, "--count", "5000", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    waiting = told["waiting"]
    assert told["pf_received"] + waiting["before"] - waiting["after"] == told["received"] == 5000


@pytest.mark.parametrize("mode", ["loopback", "txonly", "rxdrop", "forward"])
def test_forward_sends_all_that_it_received_when_time_ends_a_run(
    mode: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", "softvf", "--mode", mode, "--duration", "0.2", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["in_flight"] == told["given_back"] == told["not_completed"] == 0
    if mode == "forward":
        assert told["sent"] == told["received"] == told["pf_sent"] > 0


NONE = ", drops: none"
SENT = "sent by the PF's count 99, not completed 0"
BEYOND = "beyond it nobody counts;"
ENDS = f"receiving and the wire 0 of 99, {BEYOND}"
SUMMARIES = [
    ("loopback", f"sent 99, received 99, in flight 0{NONE} lost 0 of 99;", "PF's"),
    ("txonly", f"sent 99, {SENT}{NONE} lost before the wire 0 of 99;", "received 0"),
    ("rxdrop", f"received 99{NONE} dropped at this VF 0 of 99; what was sent to it is", "lost"),
    ("forward", f"received 99, sent on 99, {SENT}{NONE} lost between {ENDS}", "in flight"),
]


@pytest.mark.parametrize(("mode", "words", "never"), SUMMARIES)
def test_the_summary_says_what_each_mode_can_know(
    mode: str, words: str, never: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", "softvf", "--mode", mode, "--count", "99"]) == 0
    told = " ".join(capfd.readouterr().out.split())
    summary = told[: told.index("NIC statistics")]
    assert words in summary
    assert never not in summary


STRANGER = "02:00:00:00:00:77"


def txonly(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, JSON and stderr of 300 frames sent."""
    status = run(["bench", *arguments, "--mode", "txonly", "--count", "300", "--json"])
    told = capfd.readouterr()
    return status, json.loads(told.out), told.err


@pytest.mark.parametrize("vfs", [("softvf",), ("softvf", "softvf")])
def test_sent_to_an_address_that_nobody_has_is_not_sound(
    vfs: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    """Seen before the first packet, and without that by the counters of all who could get it."""
    status, _, error = txonly(capfd, *vfs, "--dst", STRANGER)
    assert status == 1 and f"frames of vf0 to {STRANGER} get to nobody" in error
    status, told, error = txonly(capfd, *vfs, "--dst", STRANGER, "--no-preflight")
    assert (status, told["sound"], told["pf_sent"], told["arrived"]) == (1, False, 300, 0)
    assert f"300 of 300 packets that were sent to {STRANGER} got to nobody" in " ".join(
        error.split()
    )


def test_sent_to_nobody_on_purpose_is_no_claim_of_delivery(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(["bench", "softvf", "--mode", "txonly", "--count", "300"]) == 0
    words = "sent = what the PF counted as transmitted; delivery was not looked at"
    assert words in " ".join(capfd.readouterr().out.split())
    told = txonly(capfd, "softvf")[1]
    assert told["arrived"] is None and told["delivered_is"].endswith("is not looked at")


def test_sent_to_whoever_gets_it_is_sound(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A VF of another program, which need not have room, or whatever is on the wire."""
    with iavfio.softvf(vfs=2) as pf, pf.open(1) as there:
        there.configure(ring=64)
        there.start(wait_link=5)
        status, told, error = txonly(capfd, pf.sockets[0], "--dst", there.mac.hex(":"))
        assert (status, told["sound"], told["arrived"]) == (0, True, 300), error
        there.stop()
        status, _, error = txonly(capfd, pf.sockets[0], "--dst", there.mac.hex(":"))
        assert status == 1 and "get to nobody" in error
    with iavfio.softvf(vfs=1, uplink=f"pcap:,{tmp_path / 'out.pcap'}") as pf:
        status, told, error = txonly(capfd, pf.sockets[0], "--dst", STRANGER)
        assert (status, told["sound"], told["arrived"]) == (0, True, 300), error


def test_frames_that_are_long_on_the_way_are_waited_for(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """By the check before the run and by its account: a path of 0.3 s swallows nothing."""
    with iavfio.softvf(vfs=2, options={"delay_us": 300_000}) as pf, pf.open(1) as there:
        there.start(wait_link=5)
        status, told, error = txonly(capfd, pf.sockets[0], "--dst", there.mac.hex(":"))
    assert (status, told["sound"], told["arrived"]) == (0, True, 300), error
