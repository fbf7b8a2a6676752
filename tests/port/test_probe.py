# SPDX-License-Identifier: BSD-3-Clause
"""Frames sent on purpose beside those of a program: no frame of it is taken for a probe, and a
device that is slow for one that stands still.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

import iavfio
from iavfio.port.port import Port
from iavfio.port.probe import NOBODY, probe_frame, probe_send
from iavfio.port.why import probe
from iavfio.softvf.launch import SoftPf
from tests.port.rig import udp, until

FOREIGN = bytes.fromhex("02fffffffffe")
Rig = tuple[SoftPf, Port]


@pytest.fixture
def rig() -> Iterator[Rig]:
    pool = iavfio.Pool(buffers=16384, huge="never")
    with iavfio.softvf(vfs=1) as pf, pf.open(0, pool=pool) as port:
        yield pf, port


def filled(port: Port, packets: int, size: int = 1400) -> None:
    """So many frames to nobody are posted."""
    frame, sent = udp(NOBODY, port.mac, payload=bytes(size)), 0

    def all_posted() -> bool:
        nonlocal sent
        sent += port.tx[0].send([frame] * min(30, packets - sent))
        return sent >= packets

    assert until(all_posted)


def test_a_backlog_is_no_stall(rig: Rig) -> None:
    """Over nine seconds of frames at 5 Mbit/s stand before the probe in its queue."""
    pf, port = rig
    port.configure(tx_ring=4096)
    port.start(wait_link=5)
    pf.control("rate", vf=0, mbps=5)
    filled(port, 4000)
    facts = probe(port)
    assert (facts.stuck, facts.busy) == (False, True)
    assert port.why() == []


def test_frames_that_the_pf_has_not_seen_yet_are_looked_at(rig: Rig) -> None:
    """Twenty frames at 1 Mbit/s take a quarter of a second to the spoof check."""
    pf, port = rig
    port.start(wait_link=5)
    assert port.why() == []
    pf.control("rate", vf=0, mbps=1)
    frame = udp(NOBODY, bytes.fromhex("020000000099"), payload=bytes(1400))
    assert port.tx[0].send([frame] * 20) == 20
    assert [finding.name for finding in port.why()] == ["spoof check"]


def test_a_ring_that_its_program_keeps_full_is_no_stall(rig: Rig) -> None:
    pf, port = rig
    port.configure(tx_ring=256)
    port.start(wait_link=5)
    pf.control("rate", vf=0, mbps=100)
    over = threading.Event()

    def flood() -> None:
        while not over.wait(0.001):
            port.tx[0].send([udp(NOBODY, port.mac, payload=bytes(1400))] * 64)

    sender = threading.Thread(target=flood)
    sender.start()
    assert until(lambda: port.tx[0].in_flight > 200)
    facts = probe(port)
    over.set()
    sender.join()
    assert (facts.stuck, facts.busy, facts.own, facts.foreign) == (False, True, None, None)


def test_a_full_ring_of_a_device_that_stands_still_is_a_stall(rig: Rig) -> None:
    pf, port = rig
    port.configure(tx_ring=64)
    port.start(wait_link=5)
    pf.control("fault", vf=0, kind="tx_stall", queue=0, on=True)
    while port.tx[0].send([udp(NOBODY, port.mac)] * 8):
        pass
    with pytest.MonkeyPatch.context() as patch:  # the watchdog would end it by a reset
        patch.setattr(port.control.housekeeping, "queue_stalled", lambda: None)
        found = probe_send(port, probe_frame(NOBODY, port.mac))
    assert (found.completed, found.stuck, found.passed) == (False, True, None)


def test_frames_that_are_under_way_to_the_pf_are_not_taken_for_a_probe(rig: Rig) -> None:
    """They are done by the device already, and the PF counts them 0.3 s later."""
    pf, port = rig
    port.start(wait_link=5)
    pf.control("delay", vf=0, us=300_000)
    filled(port, 10)
    assert until(lambda: port.tx[0].clean() >= 0 and port.tx[0].in_flight == 0)
    found = probe_send(port, probe_frame(NOBODY, FOREIGN))
    assert (found.completed, found.passed, found.discarded) == (True, False, True)


@pytest.mark.parametrize("lost", [False, True])
def test_a_program_that_sends_now_and_then_leaves_room_for_a_probe(rig: Rig, lost: bool) -> None:
    """Also after a reset that took frames with it which the PF has counted and forgotten."""
    _, port = rig
    port.start(wait_link=5)
    over = threading.Event()

    def now_and_then() -> None:
        while not over.wait(0.05):
            port.tx[0].send([udp(NOBODY, port.mac)])

    if lost:
        filled(port, 100)
        assert until(lambda: port.tx[0].clean() >= 0 and port.tx[0].in_flight == 0)
        port.control.housekeeping.conditions.uncounted = -7  # as if the PF had forgotten others
    sender = threading.Thread(target=now_and_then)
    sender.start()
    facts = probe(port)
    over.set()
    sender.join()
    assert (facts.own, facts.foreign, facts.busy) == (True, False, False)
    assert facts.vlans in ("free", "unknown")


def test_a_reset_in_the_middle_says_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    pf, port = rig
    port.start(wait_link=5)
    pf.control("fault", vf=0, kind="tx_stall", queue=0, on=True)
    resetting = threading.Timer(0.3, port.reset)
    resetting.start()
    found = probe_send(port, probe_frame(NOBODY, port.mac))
    resetting.join()
    assert (found.completed, found.passed) == (False, None)
    assert not found.stuck and len(port.resets) == 1


def test_many_calls_and_a_reset_end_in_findings_only(rig: Rig) -> None:
    """What is missing of a probe is a fact that is missing, never an error."""
    _, port = rig
    port.start(wait_link=5)
    over = threading.Event()

    def reset_again() -> None:
        while not over.is_set():
            port.reset()
            time.sleep(0.05)

    resetting = threading.Thread(target=reset_again)
    resetting.start()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert {found.name for found in port.why()} <= {
            "not running", "link down", "PF silent", "PF discards", "discards on sending"
        }  # fmt: skip
    over.set()
    resetting.join()
