# SPDX-License-Identifier: BSD-3-Clause
"""A queue pair between two bring-ups, and what its two sides say of packets that did not go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import iavfio
from iavfio.datapath.pair import PairDevice, PairSettings, QueuePair
from iavfio.datapath.pool import Pool
from iavfio.errors import IavfioError
from iavfio.port.port import Port
from tests.port.rig import collect, healthy, send_all, udp


@pytest.fixture
def port() -> Iterator[Port]:
    with iavfio.softvf() as pf, pf.open(0, pool=Pool(1024, huge="never")) as port:
        port.start(wait_link=10)
        yield port


@pytest.mark.parametrize(
    ("frame", "scattered"), [(2044, False), (2045, True), (1522, False), (9724, True)]
)
def test_the_fcs_needs_room_as_well(frame: int, scattered: bool) -> None:
    """A buffer has 2048 bytes: a frame of 2044 and its FCS just fit."""
    assert PairSettings(64, 64, frame).scattered is scattered


def test_a_pair_is_made_anew_when_its_device_side_is_another(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pair,) = port.control.queues
    before, rings = pair.raw, pair.rings
    port.stop()
    port.start()
    assert pair.raw == before and pair.rings is rings  # nothing has changed
    create = QueuePair.create

    def another(pair: QueuePair, device: PairDevice, companion: QueuePair | None = None) -> Any:
        return create(pair, replace(device, rxdid=0), companion)

    port.stop()
    monkeypatch.setattr(QueuePair, "create", another)
    monkeypatch.setattr(
        "iavfio.port.negotiation.Session.rxdid", property(lambda session: 0)
    )  # a PF that offers legacy descriptors alone after a reset
    port.start(wait_link=10)
    assert pair.raw != before and pair.rings is rings
    assert pair.rxdid == 0
    frame = udp(port.mac, port.mac)
    send_all(port, [frame])
    assert collect(port.rx, 1) == [frame]


def test_send_counts_what_the_device_took_and_not_what_was_refused(port: Port) -> None:
    """Packets of under 17 bytes are refused for good: they leave the burst, and were not sent."""
    good = udp(port.mac, port.mac)
    with port.tx[0].build([good] * 5) as burst:
        handles = burst.live().handles
        for at, length in ((1, 3), (3, 16)):
            handles[at] = int(handles[at]) & (1 << 48) - 1 | length << 48
        assert port.tx[0].send(burst) == 3
    assert collect(port.rx, 3) == [good] * 3
    port.settle()
    sq = port.stats.snapshot().sq[0]
    assert (sq["posted"], sq["refused_short"]) == (3, 2)


def test_a_burst_that_the_pool_is_too_small_for_takes_no_buffer(port: Port) -> None:
    idle = port.pool.idle
    with pytest.raises(IavfioError):
        port.tx[0].build([bytes(64)] * (idle + 1))
    assert port.pool.idle == idle
    with port.tx[0].build([bytes(64)] * idle):
        assert port.pool.idle == 0
    assert port.pool.idle == idle
    port.stop()
    assert healthy(port.pool)
