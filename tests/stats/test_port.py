# SPDX-License-Identifier: BSD-3-Clause
"""Counters of a port on the software VF, as other processes see them while it does nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from iavfio.datapath.pool import Pool
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from iavfio.stats import read
from tests.port.rig import collect, send_all, udp, until
from tests.port.targets import software_pf


@pytest.fixture(scope="module", params=["e810", "x710", "x722"])
def pf(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    with software_pf(vfs=2, personality=request.param) as pf:
        yield pf


@pytest.fixture
def port(pf: SoftPf) -> Iterator[Port]:
    with pf.open(0, pool=Pool(2048, huge="never"), name="idle") as port:
        port.start(wait_link=5)
        yield port


def completed() -> int:
    return read("idle").sq[0]["packets"]


def counted(packets: int) -> bool:
    return until(lambda: completed() == packets)


@pytest.mark.parametrize("count", [1, 20, 31, 64])
def test_sends_are_counted_while_the_port_is_idle(port: Port, count: int) -> None:
    """Nobody sends, cleans or stops again; two rounds of the watchdog are 8 ms."""
    for burst in range(1, 4):
        send_all(port, [udp(port.mac, port.mac)] * count)
        assert counted(burst * count), read("idle").sq[0]
    assert port.tx[0].in_flight == 0
    assert read("idle").sq[0]["bytes"] == 3 * count * 60


def test_sends_are_counted_soon(port: Port) -> None:
    """The best of many tries: the machine that this runs on may be busy."""
    took = []
    for burst in range(1, 31):
        send_all(port, [udp(port.mac, port.mac)] * 20)
        start = time.monotonic()
        assert counted(burst * 20)
        took.append(time.monotonic() - start)
    assert min(took) < 0.010


def test_sends_are_counted_while_somebody_only_receives(port: Port) -> None:
    send_all(port, [udp(port.mac, port.mac)] * 20)
    end = time.monotonic() + 10
    while completed() < 20 and time.monotonic() < end:
        with port.rx[0].recv():
            pass
    assert completed() == 20


def test_sends_are_counted_while_a_receiver_sleeps(pf: SoftPf, port: Port) -> None:
    other = b"\x02\x00\x00\x00\x99\x99"
    send_all(port, [udp(other, port.mac)] * 20)
    with port.rx[0].recv(timeout=0.5) as burst:
        assert len(burst) in (0, 20)  # the loopback wire may bring them back
    assert counted(20)


def test_own_reset_loses_nothing_of_what_the_pf_counted(port: Port) -> None:
    """The PF may count from zero after a reset, and its last answer be a second old."""
    port.refresh_stats()
    before = read("idle").pf
    for burst in range(1, 6):
        send_all(port, [udp(port.mac, port.mac)] * 50)
        assert len(collect(port.rx, 50)) == 50
        assert counted(50 * burst)
        port.reset()
        told = read("idle").pf  # as it was before the reset, however soon one looks
        assert told["tx_unicast"] - before["tx_unicast"] == 50 * burst
    port.refresh_stats()
    told = read("idle").pf
    grown = {name: told[name] - before[name] for name in told}
    assert grown["tx_unicast"] == grown["rx_unicast"] == 250
    assert grown["tx_bytes"] == 250 * 60
    assert grown["rx_bytes"] == 250 * 64  # with the FCS


def test_last_sample_is_asked_before_the_reset_and_only_of_a_vf_that_can_answer(
    pf: SoftPf, port: Port
) -> None:
    def messages() -> list[str]:
        return [str(entry).split()[2] for entry in port.journal]

    port.reset()
    sent = messages()
    asked = len(sent) - 1 - sent[::-1].index("RESET_VF")
    assert sent[asked - 2 : asked] == ["GET_STATS", "GET_STATS"]  # request and reply
    pf.control("reset", vf=0)  # the PF's own: the VF has no mailbox to ask by
    assert until(lambda: len(port.resets) == 2)
    assert "RESET_VF" not in messages()[asked + 1 :]


def test_reset_does_not_wait_for_a_pf_that_is_silent(pf: SoftPf, port: Port) -> None:
    pf.control("fault", vf=0, kind="drop", opcode=15, count=1000)
    try:
        outage = port.reset().outage
    finally:
        pf.control("fault", vf=0, kind="clear")
    assert outage < 5.0
    send_all(port, [udp(port.mac, port.mac)] * 20)
    assert len(collect(port.rx, 20)) == 20
