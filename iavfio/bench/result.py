# SPDX-License-Identifier: BSD-3-Clause
"""The result of a run: rates of its window, and an account of all packets that must balance."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from iavfio.arguments import counted
from iavfio.bench.plan import WIRE_OVERHEAD, Plan
from iavfio.datapath.latency import Latency
from iavfio.datapath.pair import FCS
from iavfio.datapath.thread import Counters
from iavfio.port.footprint import Footprint
from iavfio.stats import Snapshot

NOBODY_THERE = "no VF that runs has this address in its VLAN, and no wire takes it"
REFUSALS = ("refused_short", "refused_long", "refused_segments", "refused_handle")
"""Why a send ring refuses a packet for good: forward has received it, and drops it."""


@dataclass(frozen=True)
class Row:
    """A queue's part of a run: packets and bytes (without FCS) in the direction that is measured.

    `mpps`, `gbps` (frames with FCS) and `line_share` (with preamble and gap, of the link's speed)
    are the queue's share of the window's rate.
    """

    port: str
    queue: int
    packets: int
    bytes: int
    drops: int
    mpps: float
    gbps: float
    line_share: float | None


@dataclass(frozen=True)
class Result:
    """A finished run. `window`: counters of the measured window; `total`: with the draining.

    `unsent`: packets that were posted and not completed at the end; `waiting`: packets that lay in
    the receive rings when the PF was asked before and after the run; `capacity`: packets that rings
    of both sides can hold, the most that can be on its way when a run is cut short; `drained`:
    whether everything that was on its way had time to arrive; `interrupted`: what cut the run
    short, or None; `arrived`: packets that VFs or the wire took, as `bench.arrivals` counts
    them, None where nobody looked; `latency`: how long the run's packets were under way, None when
    not asked for.
    """

    plan: Plan
    isa: str
    window: Counters
    total: Counters
    drained: bool
    interrupted: KeyboardInterrupt | None
    unsent: int
    waiting: tuple[int, int]
    before: dict[str, Snapshot]
    after: dict[str, Snapshot]
    link_mbps: dict[str, int]
    capacity: int
    provenance: dict[str, object]
    queues: int
    ring: int
    memory: Footprint
    latency: Latency | None = None
    arrived: int | None = None
    notes: tuple[str, ...] = ()

    # ---- what was counted

    @cached_property
    def delta(self) -> dict[str, Snapshot]:
        """What each port's counters moved by."""
        return {name: after.since(self.before[name]) for name, after in self.after.items()}

    def _queues(self, side: str, name: str) -> int:
        return sum(queue[name] for d in self.delta.values() for queue in getattr(d, side))

    @property
    def sent(self) -> int:
        """Packets handed to the device."""
        return self._queues("sq", "posted")

    @property
    def received(self) -> int:
        """Packets received: in loopback those of this run only."""
        return self.total.received

    @cached_property
    def pf_sent(self) -> int:
        """Packets that the PF counted as sent by the VFs and did not discard."""
        names = ("tx_unicast", "tx_multicast", "tx_broadcast")
        return sum(d.pf[name] for d in self.delta.values() for name in names)

    @cached_property
    def pf_received(self) -> int:
        """Packets that the PF counted as received by the VFs, those still in the rings included."""
        names = ("rx_unicast", "rx_multicast", "rx_broadcast")
        return sum(d.pf[name] for d in self.delta.values() for name in names)

    @property
    def taken(self) -> int:
        """Packets that the queues took out of the receive rings, or dropped there."""
        return self._queues("rq", "packets") + sum(
            count for name, count in self.drops.items() if name.startswith("rx_drop_")
        )

    @cached_property
    def drops(self) -> dict[str, int]:
        """Packets that somebody dropped and counted, by reason.

        Where nothing is received, what finds no room in a receive ring was sent all the same.
        """
        reasons: dict[str, int] = {}
        received = () if self.plan.mode == "txonly" else ("rx_discards",)
        for d in self.delta.values():
            for name in (*received, "tx_discards", "tx_errors"):
                reasons[name] = reasons.get(name, 0) + d.pf[name]
            refusals = REFUSALS if self.plan.mode == "forward" else ()
            for side, block in (("rx", d.rq), ("tx", d.sq)):
                for queue in block:
                    for name, value in queue.items():
                        if name.startswith("drop_") or name in refusals:
                            reasons[f"{side}_{name}"] = reasons.get(f"{side}_{name}", 0) + value
        return {name: value for name, value in reasons.items() if value}

    # ---- the account

    @property
    def offered(self) -> int:
        """Packets that should have gone all the way: sent ones, or those that came to the VFs."""
        if self.plan.generates:
            return self.sent
        return self._queues("rq", "packets") + sum(
            count for name, count in self.drops.items() if name.startswith("rx_")
        )

    @property
    def delivered(self) -> int:
        """Packets that went all the way of this mode.

        Received ones in loopback and rxdrop; in txonly and forward those that the PF counts as
        sent: what a spoof check or a VLAN rule swallows is completed, and never counted there.
        """
        if self.plan.mode in ("txonly", "forward"):
            return self.pf_sent
        if self.plan.mode == "rxdrop":
            return self._queues("rq", "packets")
        return self.received

    @property
    def delivered_is(self) -> str:
        """What is known of a packet that counts as delivered, in words."""
        if self.plan.mode in ("loopback", "rxdrop"):
            return "received by a VF of this run"
        beyond = "not looked at" if self.arrived is None else "in arrived"
        return f"transmitted by the PF's count; whether anybody got it is {beyond}"

    @property
    def given_back(self) -> int:
        """Packets that forward had received when it ended, and for which no ring had room."""
        if self.plan.mode != "forward":
            return 0
        return self.total.refused - sum(self.drops.get(f"tx_{name}", 0) for name in REFUSALS)

    @cached_property
    def in_flight(self) -> int:
        """Packets that had no time to arrive: in the rings, and on the way when a run was cut
        short. One that was received is not, even where its send is not completed yet.
        """
        missing = self.offered - self.delivered - sum(self.drops.values())
        room = self.unsent + self.given_back + (0 if self.drained else self.capacity)
        return max(0, min(missing, room))

    @property
    def loss(self) -> int:
        """Packets that were offered, and neither delivered nor on their way."""
        return self.offered - self.delivered - self.in_flight

    @property
    def loss_share(self) -> float:
        """Lost packets of all that were offered."""
        return max(self.loss, 0) / self.offered if self.offered else 0.0

    @property
    def lost(self) -> int:
        """Lost packets that no counter explains: 0 in a sound run, less when too many came back."""
        return self.loss - sum(self.drops.values())

    @property
    def unreached(self) -> int:
        """Packets that were sent and got to nobody, where somebody looked for them; else 0."""
        return 0 if self.arrived is None else max(0, self.pf_sent - self.arrived)

    @property
    def max_loss(self) -> float:
        """The share of lost packets that is accepted."""
        if self.plan.max_loss is not None:
            return self.plan.max_loss
        return 0.0 if self.provenance["software_device"] else 1.0

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the run is not sound, a sentence each; empty when it is."""
        return tuple(_reasons(self))

    @property
    def sound(self) -> bool:
        """Whether packets were delivered, the accounts balance and nothing was found wrong."""
        return not self.reasons

    # ---- rates of the window

    @property
    def duration(self) -> float:
        """Seconds of the measured window."""
        return (self.window.stop_ns - self.window.start_ns) / 1e9

    @property
    def packets(self) -> int:
        """Packets that the window is rated by."""
        return self.window.sent if self._by_sent else self.window.received

    @property
    def _by_sent(self) -> bool:
        return self.plan.mode in ("txonly", "forward")

    @property
    def mpps(self) -> float:
        """Million packets a second in the window; 0 when nothing was delivered at all."""
        return self.packets / self.duration / 1e6 if self.duration and self.delivered else 0.0

    @property
    def gbps(self) -> float:
        """Gbit/s of frames with FCS, without preamble and gap."""
        return self._rated[0]

    @property
    def line_share(self) -> float | None:
        """Share of the links' speed, with preamble and gap; None when no speed is known."""
        return self._rated[1]

    @property
    def _rated(self) -> tuple[float, float | None]:
        if not self.delivered:
            return self.rates(0, 0)
        w = self.window
        return self.rates(self.packets, w.sent_bytes if self._by_sent else w.received_bytes)

    def rates(self, packets: int, octets: int) -> tuple[float, float | None]:
        """Gbit/s of so many packets in the window, `octets` without FCS; their share of the line.

        The share is None when no speed is known.
        """
        speed = sum(self.link_mbps.values()) / 1e3
        gbps = line = 0.0
        if self.duration:
            gbps = (octets + FCS * packets) * 8 / self.duration / 1e9
            line = gbps + packets * WIRE_OVERHEAD * 8 / self.duration / 1e9
        return gbps, line / speed if speed else None

    @property
    def cycles(self) -> float:
        """TSC cycles of the workers a packet, in rounds that moved packets."""
        return self.window.tsc_busy / self.packets if self.packets else 0.0

    @property
    def empty_share(self) -> float:
        """Share of rounds that moved nothing."""
        return self.window.empty_loops / self.window.loops if self.window.loops else 0.0

    def rows(self) -> list[Row]:
        """One row for each VF and queue."""
        side = "sq" if self._by_sent else "rq"
        all_packets = self._queues(side, "packets")
        out: list[Row] = []
        for name, d in self.delta.items():
            for i, (rq, sq) in enumerate(zip(d.rq, d.sq, strict=False)):
                q = sq if self._by_sent else rq
                mpps = self.mpps * q["packets"] / all_packets if all_packets else 0.0
                size = q["bytes"] / q["packets"] + FCS if q["packets"] else 0.0
                gbps = mpps * size * 8 / 1e3
                speed = self.link_mbps[name] / 1e3
                share = (gbps + mpps * WIRE_OVERHEAD * 8 / 1e3) / speed if speed else None
                drops = sum(
                    value
                    for block in (rq, sq)
                    for n, value in block.items()
                    if n.startswith("drop_")
                )
                out.append(Row(name, i, q["packets"], q["bytes"], drops, mpps, gbps, share))
        return out

    def as_dict(self) -> dict[str, Any]:
        """One JSON object; `ports` maps each port to what its counters moved by, ethtool names."""
        t = self.total
        return {
            "mode": self.plan.mode,
            "isa": self.isa,
            "duration_s": round(self.duration, 6),
            "mpps": round(self.mpps, 6),
            "gbps": round(self.gbps, 6),
            "line_share": None if self.line_share is None else round(self.line_share, 6),
            "sent": self.sent,
            "received": self.received,
            "offered": self.offered,
            "delivered": self.delivered,
            "delivered_is": self.delivered_is,
            "lost": self.lost,
            "loss_share": self.loss_share,
            "max_loss": self.max_loss,
            "in_flight": self.in_flight,
            "not_completed": self.unsent,
            "given_back": self.given_back,
            "pf_sent": self.pf_sent,
            "pf_received": self.pf_received,
            "arrived": self.arrived,
            "waiting": {"before": self.waiting[0], "after": self.waiting[1]},
            "foreign": t.foreign,
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
                "lost": t.lost,
                "duplicated": t.duplicated,
                "reordered": t.reordered,
                "corrupted": t.corrupted,
            },
            "latency": None if self.latency is None else self.latency.as_dict(),
            "sound": self.sound,
            "reasons": list(self.reasons),
            "interrupted": self.interrupted is not None,
            "notes": list(self.notes),
            "rows": [asdict(row) for row in self.rows()],
            "ports": {name: snapshot.counters() for name, snapshot in self.delta.items()},
            "provenance": self.provenance,
        }


def _reasons(r: Result) -> list[str]:
    reasons: list[str] = []
    if r.total.error:
        reasons.append("a worker did not end as it should")
    if not r.offered:
        if r.interrupted is None:
            reasons.append(
                "nothing was sent" if r.plan.generates else "nothing arrived in the whole run"
            )
    elif not r.delivered and r.interrupted is None:
        reasons.append(f"none of {counted(r.offered, 'packet')} was delivered: {_where(r)}")
    elif r.lost > 0:
        missing = counted(r.lost, "packet") + (" is" if r.lost == 1 else " are")
        reasons.append(f"{missing} missing, and no counter says why")
    elif r.lost < 0:
        reasons.append(f"{counted(-r.lost, 'packet')} more were delivered or dropped than sent")
    elif r.loss_share > r.max_loss:
        reasons.append(
            f"{r.loss} of {r.offered} packets were lost ({r.loss_share:.3%}, at most "
            f"{r.max_loss:.3%} is allowed): {_where(r)}"
        )
    if r.unreached and (not r.arrived or r.unreached > r.max_loss * r.pf_sent):
        assert r.plan.dst is not None
        reasons.append(
            f"{r.unreached} of {counted(r.pf_sent, 'packet')} that were sent to "
            f"{r.plan.dst.hex(':')} got to nobody: {NOBODY_THERE}"
        )
    t = r.total
    found = t.duplicated + t.reordered + t.corrupted
    unexplained = t.lost if r.drained and not r.drops and r.interrupted is None else 0
    if r.plan.verify and (found or unexplained):
        reasons.append(
            f"--verify found packets that are wrong: lost {t.lost}, duplicated {t.duplicated}, "
            f"reordered {t.reordered}, corrupted {t.corrupted}"
        )
    return reasons


def _where(r: Result) -> str:
    """What the counters say of packets that did not arrive."""
    if not r.drops:
        return (
            "they left the VFs and nobody counted them again"
            if r.plan.mode == "loopback"
            else "the VFs completed them and nobody counted them again, not even the PF as sent"
        )
    causes = {
        "tx_discards": "discarded by the PF: spoof check, VLAN or link",
        "tx_errors": "not let out by the PF: spoof check, VLAN, link, or a wrong descriptor",
        "rx_discards": "no receive descriptor was free",
    }
    return ", ".join(
        f"{name} {count}" + (f" ({causes[name]})" if name in causes else "")
        for name, count in r.drops.items()
    )


@dataclass(frozen=True)
class Spread:
    """Rates of repeated runs: median, least and most, in million packets a second."""

    runs: int
    median: float
    least: float
    most: float

    @classmethod
    def of(cls, results: Sequence[Result]) -> Spread:
        """Median and spread of the runs, of which there is at least one."""
        rates = [result.mpps for result in results]
        return cls(len(rates), statistics.median(rates), min(rates), max(rates))
