# SPDX-License-Identifier: BSD-3-Clause
"""A PF without a process: hardware that takes notes, a clock that tests move, a real data plane.

Messages are packed here by hand from the tables of docs/spec/virtchnl.md 5, never with the PF's
layouts.
"""

from __future__ import annotations

import heapq
import itertools
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from iavfio.softvf.containment import Account
from iavfio.softvf.contract import QueueError, QueueName, ViolationKind
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.personality import Value, named
from iavfio.softvf.pf import Pf
from iavfio.softvf.vf_config import VfConfig

LINUX_CAPS = 0xBEBD8CF9  # column "L asks" of docs/spec/virtchnl.md 4
RX_FLEX_DESC = 1 << 26
VPP_CAPS = 0x180B80A1
DPDK_CAPS = 0xBE0BC7E1
VSI = {"e810": 1, "x710": 10, "x722": 10}
CARDS = ("e810", "x710", "x722")
I40E = ("x710", "x722")
PARAM = {"e810": -5, "x710": -22, "x722": -22}  # what each says to a wrong parameter
EVENT = 17
LINK_UP_ADV = {
    "e810": struct.pack("<IIB3xI", 1, 100000, 1, 0),
    "x710": struct.pack("<IIB3xI", 1, 10000, 1, 0),
    "x722": struct.pack("<IIB3xI", 1, 10000, 1, 0),
}
RESET_IMPENDING = struct.pack("<IIB3xI", 2, 0, 0, 255)


class Call:
    """A timer of Clock."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Clock:
    """contract.Scheduler whose time moves only by `advance`."""

    def __init__(self) -> None:
        self.time = 100.0
        self._calls: list[tuple[float, int, Call]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self.time

    def call_later(self, delay: float, call: Callable[[], None]) -> Call:
        timer = Call(call)
        heapq.heappush(self._calls, (self.time + delay, next(self._order), timer))
        return timer

    def post(self, call: Callable[[], None], account: Account) -> None:
        self.call_later(0, call)

    @property
    def waiting(self) -> int:
        return sum(timer.call is not None for _, _, timer in self._calls)

    def advance(self, milliseconds: float) -> None:
        end = self.time + milliseconds / 1000 + 1e-9
        while self._calls and self._calls[0][0] <= end:
            self.time, _, timer = heapq.heappop(self._calls)
            if timer.call is not None:
                timer.call()
        self.time = end


class Hardware:
    """contract.VfHardware that remembers."""

    def __init__(self, index: int, plane: DataPlane) -> None:
        self.index, self.plane = index, plane
        self.sent: list[tuple[int, int, bytes]] = []
        self.rstat: list[int] = []
        self.begun = 0
        self.gone = False
        self.log: list[tuple[ViolationKind, str, str]] = []
        self.errors: list[tuple[str, str]] = []
        self.muted = False
        self.msix_losses = 0

    def mute(self, on: bool) -> None:
        self.muted = on

    def lose_msix(self) -> None:
        self.msix_losses += 1

    def send_to_vf(self, opcode: int, retval: int, payload: bytes) -> None:
        self.sent.append((opcode, retval, payload))

    def set_rstat(self, state: int) -> None:
        self.rstat.append(state)

    def begin_reset(self) -> None:
        self.begun += 1
        self.rstat.append(0)
        self.plane.reset_vf(self.index)

    def set_gone(self, gone: bool) -> None:
        self.gone = gone

    def queue_error(self, queue: QueueName, error: QueueError) -> None:
        self.errors.append((queue, error))

    def violation(self, rule: str, text: str, kind: ViolationKind = "violation") -> None:
        self.log.append((kind, rule, text))

    def of_kind(self, kind: ViolationKind) -> list[str]:
        return [text for each, _, text in self.log if each == kind]

    def take(self) -> list[tuple[int, int, bytes]]:
        sent, self.sent = self.sent, []
        return sent


class RecordingPlane(DataPlane):
    """The real plane, which also tells what was published last and what was asked of it."""

    def __init__(self, vfs: int, **options: Any) -> None:
        super().__init__(vfs, **options)
        self.config: dict[int, VfConfig] = {}
        self.calls: list[tuple[Any, ...]] = []

    def publish(self, vf: int, config: VfConfig) -> None:
        super().publish(vf, config)
        self.config[vf] = config

    def configure_tx(self, vf: int, queue: int, ring_iova: int, entries: int) -> None:
        self.calls.append(("configure_tx", vf, queue, ring_iova, entries))
        super().configure_tx(vf, queue, ring_iova, entries)

    def configure_rx(self, vf: int, queue: int, *context: Any, **more: Any) -> None:
        self.calls.append(("configure_rx", vf, queue, *context))
        super().configure_rx(vf, queue, *context, **more)

    def enable_queue(self, vf: int, queue: int, rx: bool) -> None:
        self.calls.append(("enable", vf, queue, rx))
        super().enable_queue(vf, queue, rx)

    def disable_queue(self, vf: int, queue: int, rx: bool) -> None:
        self.calls.append(("disable", vf, queue, rx))
        super().disable_queue(vf, queue, rx)

    def reset_vf(self, vf: int) -> None:
        self.calls.append(("reset", vf))
        super().reset_vf(vf)

    def map_vector(self, vf: int, vector: int, *maps: int) -> None:
        self.calls.append(("map", vf, vector, *maps))
        super().map_vector(vf, vector, *maps)

    def set_rx_polling(self, vf: int, on: bool) -> None:
        self.calls.append(("rx_polling", vf, on))
        super().set_rx_polling(vf, on)


class Rig:
    """One PF, its VFs' hardware and the clock."""

    def __init__(self, card: str, vfs: int, options: dict[str, Value]) -> None:
        self.card = card
        self.personality = named(card, **options)
        self.plane = RecordingPlane(
            vfs,
            bar_size=self.personality.bar0_size,
            uplink="none",
            flex=self.personality.flex,
            e810_itr=self.personality.e810_itr,
            wb_group=self.personality.wb_group,
        )
        self.clock = Clock()
        self.hardware = [Hardware(index, self.plane) for index in range(vfs)]
        self.pf = Pf(self.personality, self.hardware, self.plane, self.clock)
        self.vsi = self.personality.vsi_id(0)

    def say(self, opcode: int, payload: bytes = b"", vf: int = 0) -> list[tuple[int, int, bytes]]:
        """Sends a message; everything that came back at once."""
        self.hardware[vf].take()
        self.pf.message(vf, opcode, payload)
        self.clock.advance(0)
        return self.hardware[vf].take()

    def ask(self, opcode: int, payload: bytes = b"", vf: int = 0) -> tuple[int, bytes]:
        """Sends a message that must be answered first of all; status and payload."""
        answers = self.say(opcode, payload, vf)
        assert answers, f"no answer to opcode {opcode}"
        assert answers[0][0] == opcode
        return answers[0][1], answers[0][2]

    def status(self, opcode: int, payload: bytes = b"", vf: int = 0) -> int:
        return self.ask(opcode, payload, vf)[0]

    def negotiate(self, caps: int = LINUX_CAPS, vf: int = 0) -> bytes:
        """VERSION, GET_VF_RESOURCES and what must follow on ice; the reply of the second."""
        assert self.ask(1, struct.pack("<II", 1, 1), vf) == (0, struct.pack("<II", 1, 1))
        status, reply = self.ask(3, struct.pack("<I", caps), vf)
        assert status == 0
        if self.personality.is_ice and caps & RX_FLEX_DESC:
            assert self.status(44, vf=vf) == 0  # ice refuses every RXDID before
        return reply

    @property
    def violations(self) -> list[str]:
        return self.hardware[0].of_kind("violation")

    @property
    def notes(self) -> list[str]:
        return self.hardware[0].of_kind("note")

    @property
    def config(self) -> VfConfig:
        return self.plane.config[0]

    def snapshot(self) -> dict[str, Any]:
        return self.pf.snapshot(0)


@contextmanager
def rig(card: str = "e810", vfs: int = 1, **options: Value) -> Iterator[Rig]:
    """A PF just after power-on."""
    made = Rig(card, vfs, options)
    try:
        yield made
    finally:
        made.plane.stop()


# ---- messages by hand


def pair(
    vsi: int,
    queue: int,
    *,
    tx_len: int = 512,
    rx_len: int = 512,
    tx_ring: int = 0x10000,
    rx_ring: int = 0x20000,
    headwb: int = 0,
    buffer: int = 2048,
    frame: int = 1522,
    crc: int = 0,
    rxdid: int = 1,
    flags: int = 0,
    rx_queue: int | None = None,
    rx_vsi: int | None = None,
    hdr_size: int = 0,
    split: int = 0,
) -> bytes:
    """One element of CONFIG_VSI_QUEUES: txq 24 bytes, rxq 40 bytes."""
    tx = struct.pack("<HHHHQQ", vsi, queue, tx_len, headwb, tx_ring, 0)
    rx = struct.pack(
        "<HHIHHIIBBBBQiI",
        vsi if rx_vsi is None else rx_vsi,
        queue if rx_queue is None else rx_queue,
        rx_len,
        hdr_size,
        split,
        buffer,
        frame,
        crc,
        rxdid,
        flags,
        0,
        rx_ring,
        0,
        0,
    )
    return tx + rx


def config_queues(vsi: int, *pairs: bytes) -> bytes:
    """Header, elements, and one element more than is counted."""
    return struct.pack("<HHI", vsi, len(pairs), 0) + b"".join(pairs) + bytes(64)


def irq_map(*entries: tuple[int, int, int, int, int, int]) -> bytes:
    """Entries of vsi, vector, rx map, tx map, rx itr, tx itr."""
    body = b"".join(struct.pack("<6H", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + body + bytes(12)


def select(vsi: int, rx: int, tx: int) -> bytes:
    return struct.pack("<HHII", vsi, 0, rx, tx)


def macs(vsi: int, *addresses: str, kind: int = 2) -> bytes:
    body = b"".join(bytes.fromhex(a.replace(":", "")) + bytes((kind, 0)) for a in addresses)
    return struct.pack("<HH", vsi, len(addresses)) + body + bytes(8)


def vlans(vsi: int, *vids: int) -> bytes:
    return struct.pack("<HH", vsi, len(vids)) + struct.pack(f"<{len(vids)}H", *vids) + bytes(2)


def vlan_filters(vsi: int, *tags: tuple[int, int, int, int]) -> bytes:
    """Tags of inner tci, inner tpid, outer tci, outer tpid; no extra element here."""
    body = b"".join(
        struct.pack("<HHHHHHHH16x", itci, 0, itpid, 0, otci, 0, otpid, 0)
        for itci, itpid, otci, otpid in tags
    )
    return struct.pack("<HHI", vsi, len(tags), 0) + body


def setting(vsi: int, outer: int = 0, inner: int = 0) -> bytes:
    return struct.pack("<IIH6x", outer, inner, vsi)


def rss_cfg(*headers: tuple[int, int], algorithm: int = 0, count: int | None = None) -> bytes:
    """Headers of type and field selector; 32 fit."""
    body = b"".join(struct.pack("<II64x", *header) for header in headers)
    number = len(headers) if count is None else count
    return (
        struct.pack("<II", 0, number)
        + body.ljust(32 * 72, b"\0")
        + struct.pack("<i128x", algorithm)
    )


def promisc(vsi: int, flags: int) -> bytes:
    return struct.pack("<HH", vsi, flags)


def rss_key(vsi: int, key: bytes) -> bytes:
    return struct.pack("<HH", vsi, len(key)) + key + b"\0"


def rss_lut(vsi: int, lut: bytes) -> bytes:
    return struct.pack("<HH", vsi, len(lut)) + lut + b"\0"


# ---- queues


def configure(pf: Rig, *queues: int, **context: Any) -> int:
    return pf.status(6, config_queues(pf.vsi, *(pair(pf.vsi, q, **context) for q in queues)))


def enable(pf: Rig, rx: int, tx: int) -> list[tuple[int, int, bytes]]:
    return pf.say(8, select(pf.vsi, rx, tx))


def map_all(pf: Rig) -> None:
    assert pf.status(7, irq_map((pf.vsi, 1, 0xF, 0xF, 0, 1))) == 0


def running(pf: Rig, queues: int) -> dict[str, Any]:
    """Queues 0..n-1 configured and enabled; the snapshot's word on them."""
    map_all(pf)
    assert configure(pf, *range(queues)) == 0
    every = (1 << queues) - 1
    assert enable(pf, every, every)[0][1] == 0
    state: dict[str, Any] = pf.snapshot()["queues"]
    assert state["enabled_rx"] == state["enabled_tx"] == list(range(queues))
    return state
