# SPDX-License-Identifier: BSD-3-Clause
"""Whatever the PF makes of messages during a reset, the driver finds its settings again.

ice serves them after it, by what a VF may say that has negotiated nothing; others refuse them at
once or never answer (docs/spec/pf-dialects.md 5).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.errors import DeviceError, IavfioError
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.port.expected import snapshot
from tests.port.rig import healthy, storm_of_resets, until, works

RESETS, MOST_RESETS = 12, 100
ASKED = (14, 15)  # CONFIG_PROMISCUOUS_MODE, GET_STATS
LOCKED = -64  # what ice says to a VF that has negotiated nothing
HABITS: dict[str, tuple[str, dict[str, Any]]] = {
    "ice, wait": ("e810", {"reset_messages": "wait"}),
    "ice of Linux 6.1, wait": ("e810", {"reset_messages": "wait", "pf_kernel": "6.1"}),
    "ice of Linux 6.12, wait": ("e810", {"reset_messages": "wait", "pf_kernel": "6.12"}),
    "ice, answer": ("e810", {"reset_messages": "answer"}),
    "ice, drop": ("e810", {"reset_messages": "drop"}),
    "i40e": ("x710", {}),
}


@pytest.fixture(params=HABITS)
def pf(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    personality, options = HABITS[request.param]
    # The PF thinks about each message, so that resets find some that it has not answered.
    more = {"reset_ms": 15, "answer_ms": 15, "trusted": True}
    with iavfio.softvf(personality=personality, options=options | more) as made:
        yield made


@pytest.fixture
def pool() -> Pool:
    return Pool(2048, huge="never")


def is_back(pf: SoftPf, port: Port, resets: int) -> bool:
    """Whether the port and the PF agree that `resets` are over."""
    return until(
        lambda: (
            snapshot(pf)["resets"] >= resets
            and snapshot(pf)["state"] == "active"
            and port.state == "running"
        )
    )


def came_late(pf: SoftPf) -> bool:
    """Whether the VF was told of a message from before a reset that it may not say that now."""
    return any(
        (entry["direction"], entry["status"]) == ("in", LOCKED) and entry["opcode"] in ASKED
        for entry in pf.control("journal", vf=0)["entries"]
    )


def test_a_program_that_asks_all_the_time(
    pf: SoftPf, pool: Pool, request: pytest.FixtureRequest
) -> None:
    """Resets come without notice, and in the middle of whatever is asked."""
    wanted = request.node.callspec.id.endswith("wait")
    over = threading.Event()
    asked = 0

    def ask(port: Port) -> None:
        nonlocal asked
        while not over.is_set():
            try:
                port.refresh_stats()
                port.set_promiscuous(bool(asked % 2))
            except IavfioError:
                pass  # of a port that is in a reset
            asked += 1

    with pf.open(0, pool=pool) as port:
        port.configure(queues=2, extra_macs=["02:00:00:00:0a:01"])
        port.start(wait_link=10)
        thread = threading.Thread(target=ask, args=(port,))
        thread.start()
        try:
            first = snapshot(pf)["resets"]
            for number in range(1, MOST_RESETS):
                pf.control("reset", vf=0, notify=bool(number % 3 == 0))
                assert is_back(pf, port, first + number), number
                if number >= RESETS and came_late(pf) == wanted:
                    break
        finally:
            over.set()
            thread.join()
        assert came_late(pf) == wanted
        works(port)
        port.set_promiscuous(True)
        assert until(lambda: snapshot(pf)["promisc"]["unicast"])
        port.set_promiscuous(False)
        assert not snapshot(pf)["promisc"]["unicast"]
        assert {"02:00:00:00:0a:01", port.mac.hex(":")} <= {*snapshot(pf)["macs"]}
        port.refresh_stats()
        assert asked > RESETS
    assert healthy(pool)


def test_a_program_that_opens_and_closes_during_resets(pf: SoftPf, pool: Pool) -> None:
    """What the one before said last is answered to the next, which takes it for none of its own."""
    for latency in (0, 5, 40, 150):
        with pf.open(0, pool=pool) as port:
            port.start(wait_link=10)
            pf.control("reset", vf=0, notify=False, latency_ms=latency)
        pf.control("reset", vf=0, notify=False, latency_ms=latency)
        with pf.open(0, pool=pool) as port:
            port.start(wait_link=10)
            works(port)
            assert port.resets == []
        assert healthy(pool)


def test_a_program_that_opens_in_a_storm_of_resets(pf: SoftPf, pool: Pool) -> None:
    """What it says in one negotiation is answered in the next."""
    with storm_of_resets(pf, 60, 0.02, 0.013):
        for _ in range(4):
            try:
                with pf.open(0, pool=pool) as port:
                    port.start()
            except DeviceError:
                pass  # a reset too many
            assert healthy(pool)
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=10)
        works(port)


def test_own_resets_in_a_row(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=10)
        for number in range(1, 4):
            port.reset()
            assert until(lambda n=number: len(port.resets) == n and port.state == "running")  # type: ignore[misc]
            works(port)
