# SPDX-License-Identifier: BSD-3-Clause
"""iavfio on VFs whose PF is Linux's own ice: its rules for flows decide where packets go.

The frames of tunnels are those of tests/port/test_tunnels.py, which a software PF is tested with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.errors import PfRefused
from iavfio.softvf.launch import SoftPf
from tests.judge.conftest import LIVE, live_pf
from tests.port.expected import RULES, expected, held, snapshot
from tests.port.test_tunnels import COVERED, FLOWS, NEVER, QUEUES, frames, inner, spread, started

ICE = [name for name in LIVE if name.startswith("linux-ice")]


@pytest.fixture(scope="module", params=ICE)
def comms(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    """A PF of each kernel, whose card has the comms package."""
    options: dict[str, Any] = {"reset_ms": 1, "ddp": "comms", "spoof_check": "off"}
    with iavfio.softvf(uplink="loopback", options=options, **live_pf(request.param)) as pf:
        yield pf


@pytest.fixture(scope="module", params=ICE)
def plain(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    """The same with the package of linux-firmware."""
    options: dict[str, Any] = {"reset_ms": 1, "spoof_check": "off"}
    with iavfio.softvf(uplink="loopback", options=options, **live_pf(request.param)) as pf:
        yield pf


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool(16384, huge="never")


def told(pf: SoftPf) -> list[dict[str, Any]]:
    """The rules that the data plane hashes by."""
    rules: list[dict[str, Any]] = snapshot(pf)["rss"]["rules"]
    return rules


@pytest.mark.parametrize("name", COVERED)
def test_a_rule_spreads_its_tunnel_until_it_is_deleted(
    comms: SoftPf, pool: Pool, name: str
) -> None:
    tunnel, kind, make = COVERED[name]
    with started(comms, pool) as port:
        sent = frames(port, kind, make)
        assert len(spread(port, sent)) == 1
        port.stop()
        port.configure(rss=iavfio.Rss.make(tunnels=[tunnel]))
        port.start(wait_link=10)
        queues = spread(port, sent)
        assert len(queues) == QUEUES and max(queues.values()) < FLOWS // 2
        port.reset()
        port.wait_link(10)
        assert spread(port, sent) == queues, "the port has made the rules again"
        port.stop()
        port.configure(rss=iavfio.Rss.make())
        port.start(wait_link=10)
        assert told(comms) == []
        assert len(spread(port, sent)) == 1
        assert comms.violations() == []


def test_rules_outlive_their_user_where_the_vsi_does(comms: SoftPf, pool: Pool) -> None:
    """ice of 6.1 makes a VF's VSI anew in each reset; later the next user's classes end them."""
    with started(comms, pool, "esp", "gtpu") as port:
        made = told(comms)
        assert len(made) == len(RULES["esp"] + RULES["gtpu"])
        port.reset()
        port.wait_link(10)
        assert told(comms) == made, "the port has made them again"
    old = "6.1" in snapshot(comms)["pf"].split("-")
    assert told(comms) == ([] if old else made)
    with started(comms, pool):
        assert told(comms) == []
    with started(comms, pool, "esp", "gtpu") as port:
        port.stop()
        port.configure(rss=iavfio.Rss.make())
        port.start(wait_link=10)
        assert told(comms) == []


def test_all_rules_together_leave_plain_traffic_as_it_was(comms: SoftPf, pool: Pool) -> None:
    with started(comms, pool) as port:
        before = spread(port, frames(port, 0x0800, inner))
        mpls = spread(port, frames(port, *NEVER["MPLS"]))
    with started(comms, pool, *RULES) as port:
        assert spread(port, frames(port, 0x0800, inner)) == before
        assert spread(port, frames(port, *NEVER["MPLS"])) == mpls
        for kind, make in ((kind, make) for _, kind, make in COVERED.values()):
            assert max(spread(port, frames(port, kind, make)).values()) < FLOWS // 2


def test_rules_come_and_go_with_the_settings(comms: SoftPf, pool: Pool) -> None:
    with comms.open(0, pool=pool) as port:
        for tunnels in (["gtpu"], ["gtpu", "esp"], ["esp"], [], ["pppoe"]):
            port.configure(queues=2, rss=iavfio.Rss.make(tunnels=tunnels))
            port.start()
            assert held(comms) == expected(port, comms), tunnels
            port.stop()


def test_a_package_that_does_not_know_the_tunnel(plain: SoftPf, pool: Pool) -> None:
    with pytest.raises(PfRefused, match="DDP package"):
        started(plain, pool, "gtpu")
    with started(plain, pool, "pppoe") as port:  # about which ice asks no package
        assert len(told(plain)) == len(RULES["pppoe"])
        assert len(spread(port, frames(port, *COVERED["PPPoE"][1:]))) == 1
