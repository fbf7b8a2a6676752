# SPDX-License-Identifier: BSD-3-Clause
"""SET_IRQS: the forms that the message has, and what each does (docs/spec/vfio-user.md 4)."""

from __future__ import annotations

from iavfio.softvf.function.msix import Msix
from iavfio.softvf.function.regions import Interrupt
from iavfio.softvf.server import messages as wire
from iavfio.softvf.server.eventfd import is_eventfd
from iavfio.softvf.server.messages import RequestRefused

DATA_MASK = wire.DATA_NONE | wire.DATA_BOOL | wire.DATA_EVENTFD
ACTION_MASK = wire.ACTION_MASK | wire.ACTION_UNMASK | wire.ACTION_TRIGGER


def set_irqs(msix: Msix, payload: bytes, fds: list[int]) -> None:
    """Carries out one SET_IRQS; takes the fds that it keeps out of `fds`.

    Raises RequestRefused, before anything is changed, for a form that does not exist.
    """
    argsz, flags, index, start, count = wire.fixed(wire.IRQ_SET, payload)
    data, action = flags & DATA_MASK, flags & ACTION_MASK
    if argsz < wire.IRQ_SET.size or flags & ~(DATA_MASK | ACTION_MASK) or index >= wire.NUM_IRQS:
        raise RequestRefused(f"argsz {argsz}, flags {flags:#x}, index {index} are out of range")
    if data.bit_count() != 1 or action.bit_count() != 1:
        raise RequestRefused(f"flags {flags:#x} need exactly one kind of data and one action")
    vectors = msix.count(index)
    if start >= vectors or count > vectors - start:
        raise RequestRefused(f"[{start}, +{count}) is not within the {vectors} vectors of {index}")
    if count == 0 and (data, action, start) != (wire.DATA_NONE, wire.ACTION_TRIGGER, 0):
        raise RequestRefused("count 0 is for disabling a whole index")
    if len(payload) - wire.IRQ_SET.size != (count if data == wire.DATA_BOOL else 0):
        raise RequestRefused(f"a message of {len(payload)} bytes does not fit {count} vectors")
    if fds and (data != wire.DATA_EVENTFD or len(fds) != count):
        raise RequestRefused(f"{len(fds)} fds came for {count} vectors with flags {flags:#x}")
    if index != Interrupt.MSIX and action != wire.ACTION_TRIGGER:
        raise RequestRefused("ERR and REQ can only be triggered")
    if data == wire.DATA_EVENTFD:
        _assign(msix, index, action, start, count, fds)
    elif count == 0:
        msix.drop(index)
    else:
        chosen = payload[wire.IRQ_SET.size :] if data == wire.DATA_BOOL else b"\1" * count
        named = [start + i for i, yes in enumerate(chosen) if yes]
        if action == wire.ACTION_TRIGGER:
            for vector in named:
                msix.fire(index, vector)
        else:
            msix.mask(named, action == wire.ACTION_MASK)


def _assign(msix: Msix, index: int, action: int, start: int, count: int, fds: list[int]) -> None:
    if action != wire.ACTION_TRIGGER:
        raise RequestRefused("eventfds come with TRIGGER only, not with mask or unmask")
    for fd in fds:
        # A pipe or a file in its place could block the data thread. Without /proc it is believed.
        if is_eventfd(fd) is False:
            raise RequestRefused("a file descriptor is no eventfd")
    eventfds: list[int | None] = list(fds) or [None] * count
    fds.clear()
    msix.assign(index, start, eventfds)
