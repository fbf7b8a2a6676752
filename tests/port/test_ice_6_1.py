# SPDX-License-Identifier: BSD-3-Clause
"""The driver on an E810 whose PF is ice of Linux 6.1.

It grants neither flexible descriptors nor a choice of what is hashed (docs/spec/pf-dialects.md 2).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.port.expected import expected, held
from tests.port.rig import collect, udp, until

FAST = {"reset_ms": 1, "notice_lead_ms": 0, "pf_kernel": "6.1"}


@pytest.fixture(params=[False, True], ids=["single", "double"])
def pf(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    """A PF with two VFs, in each VLAN mode."""
    options = {**FAST, "double_vlan": request.param}
    with iavfio.softvf(vfs=2, uplink="none", options=options) as made:
        yield made


@pytest.fixture
def pool() -> Pool:
    return Pool(8192, huge="never")


def send(port: Port, frames: list[bytes]) -> None:
    with port.tx[0].build(frames) as burst:
        assert port.tx[0].send(burst) == len(frames)


def by_queue(port: Port, count: int) -> list[list[bytes]]:
    """What arrives at each queue, `count` packets in all."""
    found: list[list[bytes]] = [[] for _ in port.rx]

    def all_there() -> bool:
        for queue, packets in zip(port.rx, found, strict=True):
            packets += collect([queue], count, 0.01)
        return sum(map(len, found)) >= count

    assert until(all_there)
    return found


def test_four_queues_share_flows_before_and_after_resets(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as a, pf.open(1, pool=pool) as b:
        b.configure(queues=4, metadata={"rss", "ptype", "csum"})
        for port in (a, b):
            port.start(wait_link=10)
        assert b.session.rxdid == 0
        assert not any("RSS" in note for note in (*a.notes, *b.notes))  # all is hashed, as wished
        for again in (lambda: None, b.reset, a.reset):
            again()
            for port in (a, b):
                port.wait_running(20)
            frames = [udp(b.mac, a.mac, sport) for sport in range(1000, 1064)]
            send(a, frames)
            found = by_queue(b, 64)
            assert sorted(frame for each in found for frame in each) == sorted(frames)
            assert min(map(len, found)) > 4
            assert held(pf, 1) == expected(b, pf, 1)
        assert pf.violations() == []


def test_columns_come_from_legacy_descriptors(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as a, pf.open(1, pool=pool) as b:
        b.configure(metadata={"rss", "ptype", "csum", "vlan"})
        for port in (a, b):
            port.start(wait_link=10)
        plain = udp(b.mac, a.mac)
        send(a, [plain[:12] + bytes.fromhex("81006007") + plain[12:]])
        with b.rx[0].recv(timeout=10) as burst:
            assert [bytes(part) for part in burst.segments_of(0)] == [plain]
            assert burst.column("vlan").tolist() == [0x6007]
            assert burst.rss[0] != 0
            assert burst.ptype.dtype == np.uint16 and burst.ptype[0] == 24
        assert pf.violations() == []


def test_what_it_cannot_be_asked_is_noted_and_traffic_flows(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as a, pf.open(1, pool=pool) as b:
        b.configure(queues=2, rss=iavfio.Rss.make(symmetric=True, fields={"ipv4-udp"}))
        for port in (a, b):
            port.start(wait_link=10)
        told = "\n".join(b.notes)
        assert "symmetric RSS is not in force" in told
        assert "the PF keeps its own RSS hash fields" in told
        send(a, [udp(b.mac, a.mac)] * 4)
        assert len(collect(b.rx, 4)) == 4
