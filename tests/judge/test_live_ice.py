# SPDX-License-Identifier: BSD-3-Clause
"""iavfio on VFs whose PF is Linux's own ice: what an X710 has not, or has otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import iavfio
from iavfio import ConfigError
from iavfio.datapath.pool import Pool
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.judge.conftest import live_pf
from tests.judge.test_live_pf import frame, received, send
from tests.port.expected import snapshot
from tests.port.rig import collect, udp, until

NAME = "linux-ice-6.12"
STRANGER = bytes.fromhex("020000000099")


@pytest.fixture
def pool() -> Pool:
    return Pool(4096, huge="never")


@contextmanager
def two_vfs(*, software: bool = False, **options: Any) -> Iterator[SoftPf]:
    """A PF with two VFs, driven by ice, or played."""
    fast = {"reset_ms": 1, "notice_lead_ms": 0}
    driver = {} if software else live_pf(NAME)
    with iavfio.softvf(vfs=2, uplink="none", options=fast | options, **driver) as made:
        yield made


@contextmanager
def two_ports(pf: SoftPf, pool: Pool) -> Iterator[tuple[Port, Port]]:
    """Both VFs at work."""
    with pf.open(0, pool=pool) as a, pf.open(1, pool=pool) as b:
        for port in (a, b):
            port.start(wait_link=10)
        yield a, b


def test_a_promiscuous_vf_gets_nothing_of_its_neighbours(pool: Pool) -> None:
    """Without vf-true-promisc-support it is the default VSI: of the wire's frames alone."""
    with two_vfs() as pf:
        pf.control("trust", vf=1, on=True)
        pf.control("spoofchk", vf=0, on=False)
        with two_ports(pf, pool) as (a, b):
            b.set_promiscuous(True)
            assert snapshot(pf, 1)["promisc"]["unicast"]
            own = frame(b.mac, a.mac)
            send(a, [frame(STRANGER, a.mac), own])
            assert received(b, 1) == [own]


@pytest.mark.parametrize("double_vlan", [False, True], ids=["single", "double"])
def test_a_tag_is_stripped_and_inserted_in_both_vlan_modes(pool: Pool, double_vlan: bool) -> None:
    with two_vfs(double_vlan=double_vlan) as pf, two_ports(pf, pool) as (a, b):
        tagged = b.mac + a.mac + bytes.fromhex("8100000788b5") + bytes(46)
        send(a, [tagged])
        assert received(b, 1) == [tagged]
        b.stop()
        b.configure(metadata=["vlan"])
        b.start(wait_link=10)
        assert snapshot(pf, 1)["vlan_strip"] == ("l2tag2_2" if double_vlan else "l2tag1")
        send(a, [tagged])
        assert received(b, 1) == [tagged[:12] + tagged[16:]]


@pytest.mark.parametrize("pf_of", ["linux", "software"])
@pytest.mark.parametrize("double_vlan", [False, True], ids=["single", "double"])
def test_with_pruning_a_vf_without_vlans_gets_no_tagged_frame(
    pool: Pool, double_vlan: bool, pf_of: str
) -> None:
    """It may send them, and one that is promiscuous gets them."""
    options = {"double_vlan": double_vlan, "vlan_pruning": True}
    with two_vfs(software=pf_of == "software", **options) as pf:
        pf.control("trust", vf=1, on=True)
        with two_ports(pf, pool) as (a, b):
            tagged = b.mac + a.mac + bytes.fromhex("8100000788b5") + bytes(46)
            untagged, priority = frame(b.mac, a.mac), tagged[:15] + b"\0" + tagged[16:]
            send(a, [tagged, untagged, priority])
            assert received(b, 2) == [untagged, priority]
            assert snapshot(pf, 1)["vlans"] == []
            b.set_promiscuous(True)
            send(a, [tagged])
            assert received(b, 1) == [tagged]
            b.set_promiscuous(False)
            send(a, [tagged, untagged])
            assert received(b, 1) == [untagged]


def test_a_port_vlan_is_nobodys_to_see(pool: Pool) -> None:
    with two_vfs() as pf:
        for vf in (0, 1):
            pf.control("vlan", vf=vf, vlan=7)
        with two_ports(pf, pool) as (a, b):
            assert snapshot(pf)["port_vlan"] == 7
            plain = frame(b.mac, a.mac)
            send(a, [plain])
            assert received(b, 1) == [plain]
            pf.control("vlan", vf=1, vlan=8)
            assert until(lambda: len(b.resets) == 1)
            b.wait_running(20)
            send(a, [plain])
            assert received(b, 0) == []


def test_a_rate_is_what_ice_s_scheduler_has(pool: Pool) -> None:
    with two_vfs() as pf:
        assert pf.control("rate", vf=0, mbps=500) == {"in_force": 500}
        assert snapshot(pf)["rate"] == 500
        with pytest.raises(ConfigError, match="refused it with error"):
            pf.control("rate", vf=0, mbps=200_000)
        with two_ports(pf, pool) as (a, b):
            send(a, [frame(b.mac, a.mac)])
            assert received(b, 1)
        assert pf.control("rate", vf=0, mbps=0) == {"in_force": 0}


def test_counters_outlive_a_user_of_the_vf(pool: Pool) -> None:
    """As docs/spec/pf-dialects.md 5 has it; a port's begin at its open, and `why` blames nobody."""
    with two_vfs() as pf:
        for _ in range(2):
            with two_ports(pf, pool) as (a, b):
                assert a.why() == []
                send(a, [frame(b.mac, a.mac)] * 4)
                assert len(received(b, 4)) == 4
                a.refresh_stats()
                sent = a.stats.snapshot().pf["tx_unicast"]
                foreign = [frame(b.mac, bytes.fromhex("02aabbccddee"))] * 3
                send(a, foreign)
                assert [finding.name for finding in a.why()] == ["spoof check"]
                assert 4 <= sent <= 8  # with the probes of `why`


def test_rss_spreads_by_the_table_and_the_key_that_ice_programs(pool: Pool) -> None:
    with two_vfs() as pf, two_ports(pf, pool) as (a, b):
        b.stop()
        b.configure(queues=4, rss=iavfio.Rss.make(key=bytes(range(52)), lut=[3, 2, 1, 0]))
        b.start(wait_link=10)
        rss = snapshot(pf, 1)["rss"]
        assert rss["key"] == bytes(range(52)).hex()
        assert rss["lut"] == [3, 2, 1, 0] * 16
        send(a, [udp(b.mac, a.mac, sport) for sport in range(1000, 1064)])
        by_queue = [len(collect([queue], 64, 0.2)) for queue in b.rx]
        assert sum(by_queue) == 64
        assert min(by_queue) > 4


def test_sixteen_queues_on_sixteen_vectors() -> None:
    pool = Pool(16384, huge="never")
    with two_vfs() as pf, pf.open(0, pool=pool) as port:
        port.configure(queues=16)
        port.start(wait_link=10)
        queues = snapshot(pf)["queues"]
        assert queues["enabled_rx"] == queues["enabled_tx"] == list(range(16))
        assert queues["vectors"] == {str(n + 1): [1 << n, 1 << n] for n in range(16)}
