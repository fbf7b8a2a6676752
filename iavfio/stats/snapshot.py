# SPDX-License-Identifier: BSD-3-Clause
"""A consistent copy of a port's counters, and the forms it is shown in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Literal

from iavfio.errors import ConfigError
from iavfio.stats.names import GLOBAL, RX, TX, chosen

Naming = Literal["libie", "kernel"]


@dataclass(frozen=True)
class Snapshot:
    """Counters of one port at one moment; each queue's block is consistent in itself.

    `rq[i]`/`sq[i]` map field names to values. `age` is how old the PF's sample is, in seconds, None
    when the PF was never asked. `torn` names blocks whose writer died inside an update.
    """

    port: str
    device: str
    transport: str
    state: str
    pid: int
    alive: bool
    age: float | None
    link_up: bool
    link_mbps: int
    mac: str
    pf: dict[str, int]
    rq: tuple[dict[str, int], ...]
    sq: tuple[dict[str, int], ...]
    labels: dict[str, str] = field(default_factory=dict)
    torn: tuple[str, ...] = ()

    def since(self, before: Snapshot) -> Snapshot:
        """What was counted after `before`, a snapshot of the same port; new queues count from 0."""

        def less(now: dict[str, int], old: dict[str, int]) -> dict[str, int]:
            return {name: value - old.get(name, 0) for name, value in now.items()}

        def queues(
            now: tuple[dict[str, int], ...], old: tuple[dict[str, int], ...]
        ) -> tuple[dict[str, int], ...]:
            padded = old + ({},) * (len(now) - len(old))
            return tuple(less(a, b) for a, b in zip(now, padded, strict=False))

        return replace(
            self,
            pf=less(self.pf, before.pf),
            rq=queues(self.rq, before.rq),
            sq=queues(self.sq, before.sq),
        )

    def counters(
        self, *, names: Naming = "libie", pool: bool = False, own: bool = False
    ) -> dict[str, int]:
        """Name to value in the order of the dump (libie-stats 1): global, then queue by queue."""
        if names not in ("libie", "kernel"):
            raise ConfigError(f"no counter names {names!r}", "", "choose libie or kernel")
        out = {counter.name: self.pf[counter.name] for counter in GLOBAL}
        for i, (rq, sq) in enumerate(zip(self.rq, self.sq, strict=True)):
            if names == "kernel":  # tx first, packets and bytes only (libie-stats, history)
                out |= {f"tx-{i}.{c.kernel}": sq[c.name] for c in TX if c.kernel}
                out |= {f"rx-{i}.{c.kernel}": rq[c.name] for c in RX if c.kernel}
                continue
            out |= {f"rq{i}_{c.name}": rq[c.name] for c in chosen(RX, pool=pool, own=own)}
            out |= {f"sq{i}_{c.name}": sq[c.name] for c in chosen(TX, pool=False, own=own)}
        return out

    def text(self, *, names: Naming = "libie", pool: bool = False, own: bool = False) -> str:
        """As `ethtool -S` prints it."""
        rows = self.counters(names=names, pool=pool, own=own).items()
        return "NIC statistics:\n" + "\n".join(f"     {name}: {value}" for name, value in rows)

    def as_dict(
        self, *, names: Naming = "libie", pool: bool = False, own: bool = True
    ) -> dict[str, object]:
        """Port, state, age of the PF's sample in seconds, and the counters in order."""
        return {
            "port": self.port,
            "device": self.device,
            "transport": self.transport,
            "state": self.state,
            "pid": self.pid,
            "alive": self.alive,
            "link": {"up": self.link_up, "mbps": self.link_mbps},
            "mac": self.mac,
            "labels": self.labels,
            "pf_sample_age_s": None if self.age is None else round(self.age, 3),
            "torn": list(self.torn),
            "counters": self.counters(names=names, pool=pool, own=own),
        }

    def to_json(self, *, names: Naming = "libie", pool: bool = False, own: bool = True) -> str:
        """`as_dict` as one JSON object."""
        return json.dumps(self.as_dict(names=names, pool=pool, own=own), indent=2)

    def __str__(self) -> str:
        return self.text()
