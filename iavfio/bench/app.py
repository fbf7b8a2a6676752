# SPDX-License-Identifier: BSD-3-Clause
"""Throughput with exact accounting: every packet that was completed is received, counted or in
flight."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from iavfio.bench.provenance import SOFTWARE, hardware, provenance
from iavfio.datapath.worker import Counters, Lane, VerifyTable, Worker
from iavfio.errors import ConfigError, DeviceError, IavfioError
from iavfio.port.footprint import Footprint
from iavfio.port.port import Port
from iavfio.stats import Snapshot

Mode = Literal["rxdrop", "txonly", "loopback", "forward"]
MODES: tuple[Mode, ...] = ("rxdrop", "txonly", "loopback", "forward")
FCS = 4
IMIX = (64,) * 7 + (594,) * 4 + (1518,)  # simple IMIX, 7:4:1
NOBODY = bytes.fromhex("020000000001")  # where txonly sends by default: nobody's address
SMALLEST = 64  # with FCS: Ethernet, IPv4, UDP and the signature fit
TICK = 0.02  # seconds: how late Ctrl-C may be noticed
DRAIN = 0.1  # seconds without a packet after which nothing more will come

Progress = Callable[[float, Counters], None]


@dataclass(frozen=True)
class Plan:
    """What to run. `sizes`: frame sizes with FCS, as RFC 2544 counts them, used in turn.

    `duration` in seconds; `count` ends the run after so many packets sent, 0 = by time; `rate` in
    packets a second, 0 = as fast as possible; `cpus`: one worker on each, empty = one anywhere.
    """

    mode: Mode = "loopback"
    sizes: tuple[int, ...] = (64,)
    duration: float = 3.0
    count: int = 0
    burst: int = 32
    rate: float = 0.0
    flows: int = 64
    verify: bool = False
    cpus: tuple[int, ...] = ()
    dst: bytes | None = None
    src: bytes | None = None
    swap: bool = True

    def checked(self, ports: Sequence[Port]) -> Plan:
        """Itself, or ConfigError for what cannot be run on these ports."""
        longest = min(port.settings.frame for port in ports) + FCS
        for size in self.sizes:
            if not SMALLEST <= size <= longest:
                raise ConfigError(
                    f"frames of {size} bytes cannot be sent",
                    f"{SMALLEST} to {longest} (with FCS) fit the MTU",
                    "raise it with --mtu, or choose another --size",
                )
        if self.duration <= 0 and not self.count:
            raise ConfigError(f"a run of {self.duration:g} s", "it must last", "--duration 3")
        if not 1 <= len(ports) <= 2:
            raise ConfigError(f"{len(ports)} ports", "one VF, or two that reach each other", "")
        return self


@dataclass(frozen=True)
class Result:
    """What a run gave; `lost` is what no counter explains. See `as_dict` for the JSON form."""

    plan: Plan
    isa: str
    duration: float
    sent: int
    received: int
    in_flight: int
    drops: dict[str, int]
    counters: Counters
    before: dict[str, Snapshot]
    after: dict[str, Snapshot]
    provenance: dict[str, object]
    queues: int
    ring: int
    memory: Footprint
    notes: tuple[str, ...] = ()

    @property
    def packets(self) -> int:
        """Packets that went all the way of this mode."""
        return self.sent if self.plan.mode in ("txonly", "forward") else self.received

    @property
    def lost(self) -> int:
        """Completed, but neither received nor counted by anybody: 0 in a sound run."""
        if self.plan.mode != "loopback":
            return 0
        return self.sent - self.received - sum(self.drops.values())

    @property
    def flawed(self) -> int:
        """Packets that --verify found wrong."""
        c = self.counters
        return c.duplicated + c.reordered + c.corrupted + (c.lost if not self.drops_any else 0)

    @property
    def drops_any(self) -> bool:
        """Whether some counter explains missing packets."""
        return any(self.drops.values())

    @property
    def sound(self) -> bool:
        """Whether the books balance, and --verify found nothing wrong."""
        return self.lost == 0 and self.flawed == 0 and not self.counters.error

    @property
    def mpps(self) -> float:
        """Million packets a second."""
        return self.packets / self.duration / 1e6 if self.duration else 0.0

    @property
    def gbps(self) -> float:
        """Gbit/s of frames with FCS, without preamble and gap."""
        c = self.counters
        octets = c.sent_bytes if self.plan.mode in ("txonly", "forward") else c.received_bytes
        count = c.sent if self.plan.mode in ("txonly", "forward") else c.received
        return (octets + FCS * count) * 8 / self.duration / 1e9 if self.duration else 0.0

    @property
    def cycles(self) -> float:
        """TSC cycles of the workers per packet, in rounds that moved packets."""
        return self.counters.tsc_busy / self.packets if self.packets else 0.0

    @property
    def empty_share(self) -> float:
        """Share of rounds that moved nothing."""
        c = self.counters
        return c.empty_loops / c.loops if c.loops else 0.0

    def as_dict(self) -> dict[str, Any]:
        """One JSON object; `ports` maps each port to its counters, ethtool names."""
        c = self.counters
        return {
            "mode": self.plan.mode,
            "isa": self.isa,
            "duration_s": round(self.duration, 6),
            "mpps": round(self.mpps, 6),
            "gbps": round(self.gbps, 6),
            "sent": self.sent,
            "received": self.received,
            "lost": self.lost,
            "in_flight": self.in_flight,
            "foreign": c.foreign,
            "drops": self.drops,
            "cycles_per_packet": round(self.cycles, 2),
            "empty_poll_share": round(self.empty_share, 4),
            "sizes": list(self.plan.sizes),
            "queues": self.queues,
            "ring": self.ring,
            "memory": asdict(self.memory),
            "burst": self.plan.burst,
            "verify": {
                "on": self.plan.verify,
                "lost": c.lost,
                "duplicated": c.duplicated,
                "reordered": c.reordered,
                "corrupted": c.corrupted,
            },
            "sound": self.sound,
            "notes": list(self.notes),
            "ports": {name: snapshot.counters() for name, snapshot in self.after.items()},
            "provenance": self.provenance,
        }


@dataclass
class _Run:
    """The workers of a run, and the books."""

    plan: Plan
    ports: Sequence[Port]
    signature: int = field(default_factory=lambda: secrets.randbits(63) | 1)

    def lanes(self) -> list[Lane]:
        """Every queue pair with its counterpart and addresses."""
        out: list[Lane] = []
        for port, peer in zip(self.ports, reversed(self.ports), strict=True):
            src = self.plan.src or port.mac
            dst = self.plan.dst or (NOBODY if self.plan.mode == "txonly" else peer.mac)
            for i, built in enumerate(port._pairs):
                other = peer._pairs[i % len(peer._pairs)]
                out.append(Lane(built, other if peer is not port else None, dst, src))
        return out

    def start(self, stack: ExitStack) -> list[Worker]:
        """One worker a CPU, queue pairs dealt out in turn."""
        lanes = self.lanes()
        cpus: list[int | None] = list(self.plan.cpus) or [None]
        cpus = cpus[: len(lanes)]
        table = None
        if self.plan.verify:
            table = VerifyTable(len(lanes), self.plan.flows)
            stack.callback(table.close)
        workers = []
        base = 0
        for n, cpu in enumerate(cpus):
            mine = lanes[n :: len(cpus)]
            limit = self.plan.count * len(mine) // len(lanes)
            workers.append(
                stack.enter_context(
                    Worker(
                        self.plan.mode,
                        mine,
                        burst=self.plan.burst,
                        swap=self.plan.swap,
                        sizes=[size - FCS for size in self.plan.sizes],
                        signature=self.signature,
                        verify=table,
                        sender_base=base,
                        flows=self.plan.flows,
                        limit=limit,
                        rate=self.plan.rate / len(cpus),
                        cpu=cpu,
                    )
                )
            )
            base += len(mine)
        return workers


def total(workers: Sequence[Worker]) -> Counters:
    """The sum of the workers' counters."""
    first, *rest = (worker.counters for worker in workers)
    for counters in rest:
        first = first + counters
    return first


def run(plan: Plan, ports: Sequence[Port], progress: Progress | None = None) -> Result:
    """Runs `plan` on started ports; returns the result also when interrupted by Ctrl-C.

    `progress(seconds, counters)` is called about once a second.
    """
    plan = plan.checked(ports)
    for port in ports:
        port.refresh_stats()
    before = {port.name: port.stats.snapshot() for port in ports}
    notes: list[str] = []
    with ExitStack() as stack:
        workers = _Run(plan, ports).start(stack)
        try:
            _watch(plan, workers, progress)
        except KeyboardInterrupt:
            notes.append("interrupted")
        for worker in workers:
            worker.finish(0.01 if notes else DRAIN)
        for worker in workers:
            if not worker.wait(0.06 if notes else 5.0):
                notes.append("a worker did not drain in time")
        for worker in workers:
            worker.close()
        counters = total(workers)
    if counters.error:
        notes.append(f"a worker ended early: {os.strerror(-counters.error)}")
    return _close_books(plan, ports, before, counters, notes)


def _watch(plan: Plan, workers: Sequence[Worker], progress: Progress | None) -> None:
    began = time.monotonic()
    shown = began
    while not all(worker.ended for worker in workers):
        now = time.monotonic()
        if plan.count and total(workers).sent >= plan.count:
            return
        if not plan.count and now - began >= plan.duration:
            return
        if progress is not None and now - shown >= 1.0:
            shown = now
            progress(now - began, total(workers))
        time.sleep(TICK)


def _close_books(
    plan: Plan,
    ports: Sequence[Port],
    before: dict[str, Snapshot],
    counters: Counters,
    notes: list[str],
) -> Result:
    in_flight = 0
    for port in ports:
        port.settle()
        for queue in port.tx:
            try:
                queue.clean()
            except IavfioError:
                pass
        in_flight += sum(queue.in_flight for queue in port.tx)
        try:
            port.refresh_stats()
        except DeviceError as error:
            notes.append(f"{port.name}: the PF's counters are old: {error.what}")
    after = {port.name: port.stats.snapshot() for port in ports}
    delta = {name: snapshot.since(before[name]) for name, snapshot in after.items()}
    completed = sum(queue["packets"] for d in delta.values() for queue in d.sq)
    elapsed = (counters.stop_ns - counters.start_ns) / 1e9
    devices = {port.name: describe(port) for port in ports}
    return Result(
        plan=plan,
        isa="/".join(sorted({built.isa for port in ports for built in port._pairs})),
        duration=elapsed,
        sent=completed,
        received=counters.received,
        in_flight=in_flight,
        drops=_drops(delta, counters),
        counters=counters,
        before=before,
        after=after,
        provenance=provenance(devices),
        queues=len(ports[0].rx),
        ring=ports[0].settings.rx_ring,
        memory=Footprint.of(ports),
        notes=tuple(notes),
    )


def _drops(delta: dict[str, Snapshot], counters: Counters) -> dict[str, int]:
    """Packets that somebody dropped and counted, by reason."""
    reasons: dict[str, int] = {}
    for snapshot in delta.values():
        for name in ("rx_discards", "tx_discards", "tx_errors"):
            reasons[name] = reasons.get(name, 0) + snapshot.pf[name]
        for queue in snapshot.rq:
            for name, value in queue.items():
                if name.startswith("drop_"):
                    reasons[f"rx_{name}"] = reasons.get(f"rx_{name}", 0) + value
    return {name: value for name, value in reasons.items() if value}


def describe(port: Port) -> str:
    """The device of a port for the provenance."""
    kind = SOFTWARE if port.device.transport == "vfio-user" else hardware()
    return f"{port.identity.family} VF over {port.device.transport}, {kind}"


def frame_sizes(text: str) -> tuple[int, ...]:
    """ "64", "64,1518" or "imix" as frame sizes with FCS. Raises ConfigError."""
    if text.lower() == "imix":
        return IMIX
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"{text!r} is no frame size", "", "write 64, a list as 64,1518, or imix"
        ) from None


def mtu_for(sizes: Sequence[int]) -> int:
    """The least MTU, at least 1500, for frames of these sizes with FCS."""
    return max(1500, max(sizes) - FCS - 14)
