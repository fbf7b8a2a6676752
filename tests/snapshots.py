# SPDX-License-Identifier: BSD-3-Clause
"""Snapshots of the stats segment, made by hand."""

from __future__ import annotations

from iavfio.stats import Snapshot
from iavfio.stats.names import GLOBAL, RX, TX


def idle(queues: int = 1) -> Snapshot:
    """A running port on which nothing was counted yet."""
    return Snapshot(
        port="vf0",
        device="vf0",
        transport="vfio-user",
        last_state="running",
        alive=True,
        pid=1,
        process="process 1",
        user="root",
        age=0.5,
        link_up=True,
        link_mbps=10000,
        mac="02:00:00:00:00:01",
        pf={c.name: 0 for c in GLOBAL},
        rq=tuple({c.name: 0 for c in RX} for _ in range(queues)),
        sq=tuple({c.name: 0 for c in TX} for _ in range(queues)),
    )
