# SPDX-License-Identifier: BSD-3-Clause
"""Faults of the card itself, on request: whatever PF drives it, it has them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol, cast, get_args

from iavfio.softvf.contract import QueueError, QueueName, VfHardware
from iavfio.softvf.dataplane import SPOILS, DataPlane
from iavfio.softvf.personality import QUEUE_LIMIT
from iavfio.softvf.pf import arguments
from iavfio.softvf.pf.arguments import Request


class FaultyVf(Protocol):
    """What a PF's driver model remembers of a VF's faults."""

    index: int
    hardware: VfHardware
    stalled: set[int]  # send queues
    spoil: str  # what is done to frames that it receives, in words


class Fault(Protocol):
    """Brings a fault about; raises ConfigError for wrong arguments."""

    def __call__(self, plane: DataPlane, vf: FaultyVf, request: Request) -> None: ...


def _stall(plane: DataPlane, vf: FaultyVf, queue: int, on: bool) -> None:
    plane.stall_tx(vf.index, queue, on)
    if on:
        vf.stalled.add(queue)
    else:
        vf.stalled.discard(queue)


def _tx_stall(plane: DataPlane, vf: FaultyVf, request: Request) -> None:
    queue = arguments.integer(request, "queue", 0, QUEUE_LIMIT - 1, 0)
    _stall(plane, vf, queue, arguments.flag(request, "on", True))


def _spoil(plane: DataPlane, vf: FaultyVf, request: Request) -> None:
    how = arguments.word(request, "how", tuple(SPOILS))
    every = arguments.integer(request, "every", 1, 1 << 30, 1)
    plane.spoil(vf.index, how, every)
    vf.spoil = f"spoil, {how}, one frame in {every}"


def _aq_error(plane: DataPlane, vf: FaultyVf, request: Request) -> None:
    queue = arguments.word(request, "queue", get_args(QueueName))
    error = arguments.word(request, "error", get_args(QueueError))
    vf.hardware.queue_error(cast("QueueName", queue), cast("QueueError", error))


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {"tx_stall": _tx_stall, "aq_error": _aq_error, "spoil": _spoil}
)


def clear(plane: DataPlane, vf: FaultyVf) -> None:
    """Ends a VF's faults."""
    for queue in set(vf.stalled):
        _stall(plane, vf, queue, False)
    if vf.spoil:
        plane.spoil(vf.index, "lose", 0)  # 0 ends it, whatever it is
        vf.spoil = ""


def texts(vf: FaultyVf) -> list[str]:
    """The faults in force, in words."""
    stalled = [f"tx_stall, queue {queue}" for queue in sorted(vf.stalled)]
    return stalled + [vf.spoil] * bool(vf.spoil)
