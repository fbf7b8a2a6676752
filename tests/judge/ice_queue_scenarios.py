# SPDX-License-Identifier: BSD-3-Clause
"""Scenarios of queues: contexts, vectors, starting and stopping."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from tests.judge.ice_messages import NO_CRC, NO_FLEX, V, ask
from tests.judge.ice_pair import Host, Say, Step
from tests.softvf.pf.pf_rig import LINUX_CAPS, config_queues, irq_map, pair, select

Scenario = tuple[Step, ...]
FIELDS: tuple[dict[str, int], ...] = (
    *({"tx_len": n} for n in (0, 8, 32, 63, 64, 65, 96, 8160, 8192)),
    *({"rx_len": n} for n in (0, 32, 64, 72, 4096, 8160, 8192, 0x10000, 0x10040, 0xFFFFFFE0)),
    *({"buffer": n} for n in (0, 100, 127, 128, 1000, 1023, 1024, 16256, 16257)),
    *({"frame": n} for n in (0, 63, 64, 9728, 9729, 16383)),
    *({"rxdid": n} for n in (0, 2, 3, 22, 26, 63, 64, 65, 255)),
    *({"split": 1, "hdr_size": n} for n in (1984, 1985)),
    {"tx_len": 0, "rx_len": 0},
    {"headwb": 1},
    {"headwb": 1, "rx_len": 0},
    {"crc": 1},
    {"crc": 2},
    {"hdr_size": 9999},
    {"rx_queue": 1},
    {"rx_vsi": 11},
    {"rx_ring": 0x20040, "tx_ring": 0x10001},
    {"rx_ring": 0, "tx_ring": 0},
    {"rx_ring": 1 << 63, "tx_ring": 1 << 63},
    {"flags": 1},
    {"flags": 2},
)


def configure(*queues: int, **fields: Any) -> Say:
    """CONFIG_VSI_QUEUES of these queues, of queue 0 when none is named."""
    return Say(6, config_queues(V, *(pair(V, queue, **fields) for queue in queues or (0,))))


def enable(rx: int, tx: int, vsi: int = V) -> Say:
    """ENABLE_QUEUES."""
    return Say(8, select(vsi, rx, tx))


def disable(rx: int, tx: int, vsi: int = V) -> Say:
    """DISABLE_QUEUES."""
    return Say(9, select(vsi, rx, tx))


FOUR = configure(0, 1, 2, 3)
MAPPED = Say(7, irq_map((V, 1, 15, 15, 0, 1)))
RUNNING = (FOUR, MAPPED, enable(15, 15))


def scenarios() -> Iterable[tuple[str, Scenario]]:
    """All of them; each follows GET_VF_RESOURCES."""
    yield from _contexts()
    yield from _vectors()
    yield from _starting()


def _contexts() -> Iterable[tuple[str, Scenario]]:
    for fields in FIELDS:
        name = " ".join(f"{key}={value:#x}" for key, value in fields.items())
        one = configure(**fields)
        yield f"queue {name}", (one, enable(1, 1), disable(1, 1), enable(1, 1))
        yield f"queue without RX_FLEX_DESC {name}", (ask(NO_FLEX), one)
        yield f"queue without CRC {name}", (ask(NO_CRC), one)
    for count in (1, 2, 4, 16):
        yield f"{count} queues configured", (configure(*range(count)),)
    yield "17 queues configured", (configure(*(i % 16 for i in range(17))),)
    yield "a queue twice", (configure(0, 0),)
    yield "queues backwards", (configure(3, 2, 1, 0), enable(15, 15))
    yield "queue 3 alone", (configure(3), enable(8, 8))
    yield "queue 15", (configure(15),)
    yield "queue 16", (configure(16),)
    yield "queues of another VSI", (Say(6, config_queues(11, pair(11, 0))),)
    yield "no queues", (Say(6, struct.pack("<HHI", V, 0, 0) + bytes(64)),)
    yield "a byte too many", (Say(6, config_queues(V, pair(V, 0)) + b"\0"),)
    yield "a byte too few", (Say(6, config_queues(V, pair(V, 0))[:-1]),)
    wrong = config_queues(V, pair(V, 0), pair(V, 1), pair(V, 2, frame=1))
    yield "third pair wrong", (*RUNNING, Say(6, wrong), enable(15, 15), disable(15, 15))
    again = (FOUR, enable(15, 15))
    yield "third pair wrong, then right", (*RUNNING, Say(6, wrong), *again, disable(15, 15), *again)
    yield "queue 3 wrong", (*RUNNING, configure(3, frame=1), enable(15, 15), disable(15, 15))
    yield "configured while it runs", (*RUNNING, FOUR, enable(15, 15))


def _vectors() -> Iterable[tuple[str, Scenario]]:
    maps: dict[str, list[tuple[int, int, int, int, int, int]]] = {
        "vector 0": [(V, 0, 1, 1, 0, 0)],
        "vector 0 without queues": [(V, 0, 0, 0, 0, 0)],
        "vector 16": [(V, 16, 1, 1, 0, 0)],
        "vector 17": [(V, 17, 1, 1, 0, 0)],
        "vector 17 without queues": [(V, 17, 0, 0, 0, 0)],
        "17 vectors": [(V, i, 0, 0, 0, 0) for i in range(17)],
        "18 vectors": [(V, 0, 0, 0, 0, 0)] * 18,
        "vector 0 with queues among others": [(V, v, 1, 1, 0, 0) for v in range(5)],
        "queue 15 on a vector": [(V, 1, 0x8000, 0x8000, 0, 0)],
        "ITR 3": [(V, 1, 1, 1, 3, 3)],
        "ITR 9": [(V, 1, 1, 1, 9, 9)],
        "vector of another VSI": [(11, 1, 1, 1, 0, 0)],
        "second vector wrong": [(V, 1, 1, 1, 0, 0), (V, 99, 1, 1, 0, 0)],
    }
    yield "vectors", (FOUR, MAPPED)
    yield "vectors of queues that are not configured", (MAPPED,)
    for name, entries in maps.items():
        yield name, (Say(7, irq_map(*entries)),)
    yield "no vectors", (Say(7, struct.pack("<H", 0) + bytes(12)),)
    yield "vectors cut short", (Say(7, irq_map((V, 1, 1, 1, 0, 0))[:-12]),)


def _starting() -> Iterable[tuple[str, Scenario]]:
    yield "started", RUNNING
    yield "started on no vector", (FOUR, enable(15, 15))
    yield "started, not configured", (enable(1, 1), disable(1, 1), FOUR, enable(15, 15))
    two = (
        Say(29, struct.pack("<H", 2)),
        Say(1, struct.pack("<II", 1, 1)),
        ask(LINUX_CAPS),
        configure(0, 1),
    )
    both = Say(7, irq_map((V, 1, 3, 3, 0, 1)))
    for rx, tx in ((7, 3), (3, 7), (6, 6), (0xFFFF, 3), (2, 5), (4, 1), (1, 4)):
        started = (*two, both, enable(rx, tx), enable(3, 3))
        yield f"two queues, started by {rx:#x}, {tx:#x}", started
        yield f"two queues, stopped by {rx:#x}, {tx:#x}", (*started, disable(rx, tx), disable(3, 3))
    masks = {
        "none": (0, 0),
        "one that is not configured": (0x11, 0x11),
        "queue 16": (1 << 16, 0),
        "Tx of queue 16": (0, 1 << 16),
        "Rx": (1, 0),
        "Tx": (0, 1),
        "all": (0xFFFF, 0xFFFF),
    }
    for name, (rx, tx) in masks.items():
        yield f"started: {name}", (FOUR, MAPPED, enable(rx, tx), enable(1, 1), disable(rx, tx))
        yield f"stopped: {name}", (*RUNNING, disable(rx, tx), enable(15, 15), disable(15, 15))
        yield f"stopped, not started: {name}", (disable(rx, tx),)
    yield "started in another VSI", (FOUR, MAPPED, enable(1, 1, vsi=9), disable(1, 1, vsi=9))
    yield "stopped in two steps", (*RUNNING, disable(1, 1), disable(14, 14), enable(15, 15))
    yield "stopped by a reset", (*RUNNING, Say(2), Say(15, select(V, 0, 0)), enable(1, 1))
    yield "stopped by an FLR", (*RUNNING, Host("flr"), enable(1, 1))
    link = [Host("link", mode) for mode in ("disable", "enable", "auto")]
    yield "the administrator's link", (*link, *RUNNING, *link, disable(15, 15), *link)
    yield "link of a VF without ADV_LINK_SPEED", (ask(0x00060001), FOUR, enable(15, 15))
