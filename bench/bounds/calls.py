# SPDX-License-Identifier: BSD-3-Clause
"""The calls that are measured: each prepares what it needs, begins the condition, and is timed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import iavfio
from bench.bounds.conditions import Rig
from bench.bounds.stopwatch import Stopwatch
from iavfio import pyvfio
from iavfio.datapath.pool import Pool
from iavfio.errors import IavfioError
from iavfio.port import bounds
from iavfio.port.port import Port
from iavfio.pyvfio import Device, DmaMemory
from iavfio.pyvfio.device import CONFIG_REGION, IRQ_MSIX

BUFFERS = 4096
RSTAT = 0x8800  # a register that is read by message (docs/spec/registers.md 3)
TRAFFIC_SECONDS = 12.0  # of sending and receiving in turn
QUEUES = 8  # more than conditions.OPTIONS give unasked
SETTLES = 0.3  # seconds in which a new port asks for counters by itself
PRESSED = (0.05, 0.7)  # seconds after which Ctrl-C comes

DEVICE = "register access, `info()`, `region()`, `set_irqs()`, `map()` of pyvfio"
OPEN, START, REFRESH, STOP = "`iavfio.open`", "`start`", "`refresh_stats`", "`stop`"
TRAFFIC, RESET, CLOSE = "`recv`, `send`", "`reset`, `recover`", "`close`"
CLOSE_AFTER, BEHIND = "`close` after Ctrl-C", "what cleans up behind Ctrl-C in any other call"
SETTINGS = "`configure`, `set_promiscuous`"


@dataclass(frozen=True)
class Call:
    """A call of a row of the page. `of`: the row that "as the call" means.

    `command`: what the row promises of a command counts. `trapped`: doorbells are messages.
    `patience`: how many times what a PF took of late is added to the bound.
    """

    row: str
    name: str
    measure: Callable[[Rig, Stopwatch], None]
    of: str = ""
    command: bool = False
    trapped: bool = False
    patience: int = 0


def _open(rig: Rig) -> Port:
    return iavfio.open(rig.target, pool=Pool(BUFFERS, huge="never"))


def _opened(rig: Rig) -> Port:
    """A port that does nothing by itself for the next moment: a call that waits takes longer."""
    port = _open(rig)
    time.sleep(SETTLES)
    return port


def _started(rig: Rig) -> Port:
    port = _open(rig)
    port.start(wait_link=10)
    time.sleep(SETTLES)
    return port


def _device(call: Callable[[Device], object], mapped: bool = False) -> Callable[..., None]:
    """A call to a device that was just opened; `mapped`: BAR0 is mapped already."""

    def measure(rig: Rig, watch: Stopwatch) -> None:
        device = pyvfio.open(rig.target)
        if mapped:
            device.map_bar(0)
        rig.begin()
        watch.time(lambda: call(device))
        device.limit(bounds.CLOSE)
        device.close()

    return measure


def _with_holes(device: Device) -> None:
    """Each run of descriptors, or of none, is a message of its own."""
    fd = os.eventfd(0)
    try:
        device.set_irqs(IRQ_MSIX, 0, [fd, None] * 2)
    finally:
        os.close(fd)


def _map(device: Device) -> None:
    device.space.map(DmaMemory.allocate(4096, huge="never"))


DEVICE_CALLS: Mapping[str, tuple[Callable[[Device], object], bool]] = MappingProxyType(
    {
        "Bar.read32": (lambda device: device.map_bar(0).read32(RSTAT), True),
        "Bar.write32": (lambda device: device.map_bar(0).write32(RSTAT, 0), True),
        "config.read16": (lambda device: device.config.read16(0), False),
        "config.msix_count": (lambda device: device.config.msix_count, False),
        "read": (lambda device: device.read(CONFIG_REGION, 0, 256), False),
        "info": (lambda device: device.info(), False),
        "region": (lambda device: device.region(0), False),
        "map_bar": (lambda device: device.map_bar(0), False),
        "set_irqs": (_with_holes, False),
        "enable_msix": (lambda device: device.enable_msix(17), False),
        "map": (_map, False),
        "reset": (lambda device: device.reset(), False),
    }
)


def _port(call: Callable[[Port], object], *, started: bool = True) -> Callable[..., None]:
    """A call to a port; it is closed afterwards."""

    def measure(rig: Rig, watch: Stopwatch) -> None:
        port = _started(rig) if started else _opened(rig)
        watch.patience = port.session.client.patience
        rig.begin()
        watch.time(lambda: call(port))
        port.close()

    return measure


def _opening(rig: Rig, watch: Stopwatch) -> None:
    opened: list[Port] = []
    rig.begin()
    watch.time(lambda: opened.append(_open(rig)))
    for port in opened:
        port.close()


def _recovering(rig: Rig, watch: Stopwatch) -> None:
    """Of a port that has failed, if it does."""
    with _started(rig) as port:
        rig.begin()
        try:
            port.reset()
        except IavfioError:
            pass
        watch.time(port.recover)


def _traffic(rig: Rig, watch: Stopwatch) -> None:
    with _started(rig) as port:
        rig.begin()
        frame = port.mac + port.mac + b"\x88\xb5" + bytes(46)
        end = time.monotonic() + TRAFFIC_SECONDS
        while watch.raised is None and time.monotonic() < end:
            for _ in range(64):  # in all more doorbells than fit into a socket that nobody reads
                watch.time(lambda: port.tx[0].send([frame]))
                watch.time(lambda: port.rx[0].recv(timeout=0).release())
            time.sleep(0.05)


def _closing_after(rig: Rig, watch: Stopwatch) -> None:
    port = _started(rig)
    rig.begin()
    error = KeyboardInterrupt()
    watch.time(lambda: port.__exit__(KeyboardInterrupt, error, None))


def _interrupted(
    call: Callable[[Port], object], after: float, *, started: bool = True, command: bool = False
) -> Callable[..., None]:
    def measure(rig: Rig, watch: Stopwatch) -> None:
        port = _started(rig) if started else _opened(rig)
        rig.begin()
        watch.interrupted(lambda: call(port), after, command)
        port.close(0.1)

    return measure


def _interrupted_opening(after: float, command: bool) -> Callable[..., None]:
    def measure(rig: Rig, watch: Stopwatch) -> None:
        opened: list[Port] = []
        rig.begin()
        watch.interrupted(lambda: opened.append(_open(rig)), after, command)
        for port in opened:
            port.close(0.1)

    return measure


def _behind() -> list[Call]:
    out = []
    for command in (False, True):
        for after in PRESSED:
            for row, name, call, started in (
                (START, "start", Port.start, False),
                (STOP, "stop", Port.stop, True),
                (REFRESH, "refresh_stats", Port.refresh_stats, True),
                (RESET, "reset", Port.reset, True),
                (CLOSE, "close", Port.close, True),
            ):
                measure = _interrupted(call, after, started=started, command=command)
                out.append(Call(BEHIND, f"{name}, {after:g} s", measure, row, command))
            measure = _interrupted_opening(after, command)
            out.append(Call(BEHIND, f"open, {after:g} s", measure, OPEN, command))
    return out


CALLS: tuple[Call, ...] = (
    *(Call(DEVICE, f"pyvfio {name}", _device(*row)) for name, row in DEVICE_CALLS.items()),
    Call(OPEN, "open", _opening),
    Call(START, "start", _port(Port.start, started=False)),
    Call(TRAFFIC, "send, recv", _traffic),
    Call(TRAFFIC, "send, recv with trapped doorbells", _traffic, trapped=True),
    Call(REFRESH, "refresh_stats", _port(Port.refresh_stats), patience=1),
    Call(STOP, "stop", _port(Port.stop), patience=4),
    Call(RESET, "reset", _port(Port.reset)),
    Call(RESET, "recover", _recovering),
    Call(CLOSE, "close", _port(Port.close)),
    Call(CLOSE_AFTER, "close after Ctrl-C", _closing_after),
    *_behind(),
    Call(
        SETTINGS,
        "configure",
        _port(lambda port: port.configure(queues=QUEUES), started=False),
    ),
    Call(SETTINGS, "set_promiscuous", _port(lambda port: port.set_promiscuous(True))),
)
