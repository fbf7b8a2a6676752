# SPDX-License-Identifier: BSD-3-Clause
"""A link that goes and comes: what a send returns meanwhile, and where its packets are counted.

See docs/spec/reliability.md F29.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.port.rig import collect, drained, healthy, lawful, send_all, udp, until

ROUNDS = 10
FLAPS = 500  # of a round: 10^4 in all, with two families
BURST = 16
LOST = ("drop_reset", "drop_error", "drop_malformed")


@pytest.fixture(scope="module", params=["e810", "x710"])
def pf(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    with iavfio.softvf(personality=request.param, options={"reset_ms": 1}) as pf:
        yield pf
        assert lawful(pf)


@pytest.fixture
def pool() -> Pool:
    return Pool(2048, huge="never")


def send(port: Port) -> int:
    with port.tx[0].build([udp(port.mac, port.mac)] * BURST) as burst:
        return port.tx[0].send(burst)


def collect_now(port: Port) -> int:
    with port.rx[0].recv() as burst:
        return len(burst)


def of_pf(port: Port) -> tuple[int, int, int]:
    """What the PF let pass of what was sent, what it dropped, and what then found no descriptor."""
    port.refresh_stats()
    counters = port.stats.snapshot().pf
    return counters["tx_unicast"], counters["tx_errors"], counters["rx_discards"]


# docs/spec/reliability.md F29
def test_a_device_without_a_link_drops_what_is_sent(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        passed, dropped, missed = of_pf(port)
        pf.control("link", state="down")
        try:
            assert until(lambda: not port.link.up)
            assert [send(port) for _ in range(3)] == [BURST] * 3
            assert until(lambda: drained(port))
            assert port.stats.snapshot().sq[0]["packets"] == 3 * BURST
            assert of_pf(port) == (passed, dropped + 3 * BURST, missed)
            assert collect_now(port) == 0
        finally:
            pf.control("link", state="up")
            port.wait_link(5)
    assert healthy(pool)


# docs/spec/reliability.md F29
def test_a_ring_that_no_link_empties_takes_no_more(pf: SoftPf, pool: Pool) -> None:
    """A device may complete nothing without a link: the ring fills, and a send returns at once."""
    with pf.open(0, pool=pool) as port:
        port.configure(ring=64)
        port.start(wait_link=5)
        pf.control("link", state="down")
        pf.control("fault", vf=0, kind="tx_stall", queue=0, on=True)
        try:
            assert until(lambda: not port.link.up)
            took = [send(port) for _ in range(6)]
            assert took[:3] == [BURST] * 3 and took[4:] == [0, 0] and sum(took) < 64
            assert port.tx[0].in_flight == sum(took)
            assert port.stats.snapshot().sq[0]["refused_full"] == 6 * BURST - sum(took)
        finally:
            pf.control("fault", vf=0, kind="tx_stall", queue=0, on=False)
            pf.control("link", state="up")
        port.wait_link(5)
        assert until(lambda: drained(port))
        assert port.state == "running" and not port.resets
    assert healthy(pool)


# docs/spec/reliability.md F29
def test_link_flaps_at_random_points(pf: SoftPf, pool: Pool) -> None:
    """From before bring-up on, at points of which none is like the last, and through resets."""
    dice = random.Random(29)
    pf.control("link", state="down")
    with pf.open(0, pool=pool) as port:
        port.start()
        for n in range(ROUNDS):
            before, taken, came = of_pf(port), 0, 0
            for flap in range(FLAPS):
                for _ in range(dice.randrange(3)):
                    taken += send(port)
                    came += collect_now(port)
                pf.control("link", state=("up", "down")[flap % 2])
            assert until(lambda: drained(port))
            passed, dropped, missed = (b - a for a, b in zip(before, of_pf(port), strict=True))
            assert passed + dropped == taken and passed and dropped, n
            # On a busy machine more may be under way than there are buffers to receive into.
            came += len(collect(port.rx, passed - missed - came))
            assert came + missed == passed and collect_now(port) == 0, n
            port.reset()
        pf.control("link", state="up")
        assert port.wait_link(5).up
        frames = [udp(port.mac, port.mac, sport=1024 + i) for i in range(64)]
        send_all(port, frames)
        assert sorted(collect(port.rx, 64)) == sorted(frames)
        snapshot = port.stats.snapshot()
        assert [snapshot.rq[0][k] + snapshot.sq[0].get(k, 0) for k in LOST] == [0, 0, 0]
        assert until(lambda: drained(port))
    assert healthy(pool)
