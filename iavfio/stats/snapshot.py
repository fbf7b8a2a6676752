# SPDX-License-Identifier: BSD-3-Clause
"""A consistent copy of a port's counters, and the forms it is shown in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from iavfio.errors import ConfigError
from iavfio.notebook import table as html_table
from iavfio.signatures import checked_call
from iavfio.stats.names import FCS_RULE, GLOBAL, RX, TX, Counter, chosen
from iavfio.stats.schemas import COUNTERS

Naming = Literal["libie", "kernel"]
DEAD = "dead"


def _mainline(table: tuple[Counter, ...]) -> tuple[Counter, ...]:
    return tuple(counter for counter in table if counter.kernel)


@dataclass(frozen=True)
class Snapshot:
    """Counters of one port at one moment; each queue's block is consistent in itself.

    `rq[i]`/`sq[i]` map field names to values. `age` is how old the PF's sample is, in seconds, None
    when the PF was never asked. `torn` names blocks whose writer died or rests inside an update.
    `alive` says whether the process that counts still runs, `last_state` what it wrote last;
    `process` and `user` name it in words, `pid` is its number in its own PID namespace. `resets`
    and `link_changes` count since the port was opened.
    """

    port: str
    device: str
    transport: str
    last_state: str
    alive: bool
    pid: int
    process: str
    user: str
    age: float | None
    link_up: bool
    link_mbps: int
    mac: str
    pf: dict[str, int]
    rq: tuple[dict[str, int], ...]
    sq: tuple[dict[str, int], ...]
    labels: dict[str, str] = field(default_factory=dict)
    torn: tuple[str, ...] = ()
    resets: int = 0
    link_changes: int = 0

    @property
    def state(self) -> str:
        """The port's state; "dead" when its process has ended, whatever it wrote last."""
        return self.last_state if self.alive else DEAD

    @checked_call
    def since(self, before: Snapshot) -> Snapshot:
        """What was counted after `before`, a snapshot of the same port; new queues count from 0.

        A counter that goes back, as only a writer's that lies can, has counted nothing.
        """

        def less(now: dict[str, int], old: dict[str, int]) -> dict[str, int]:
            return {name: max(value - old.get(name, 0), 0) for name, value in now.items()}

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
            resets=max(self.resets - before.resets, 0),
            link_changes=max(self.link_changes - before.link_changes, 0),
        )

    @checked_call
    def of_queues(self, count: int) -> Snapshot:
        """The same without the queues from `count` on, which ran once and do no longer."""
        return replace(self, rq=self.rq[:count], sq=self.sq[:count])

    @checked_call
    def counters(
        self, *, names: Naming = "libie", pool: bool = False, own: bool = False
    ) -> dict[str, int]:
        """Name to value in the order of the dump: global, then queue by queue.

        `pool` adds the page-pool counters, `own` those that libie has no name for. The order is
        that of docs/spec/libie-counters.md 1. Raises ConfigError for unknown `names`.
        """
        if names not in ("libie", "kernel"):
            raise ConfigError(f"no counter names {names!r}", "", "choose libie or kernel")
        out = {counter.name: self.pf[counter.name] for counter in GLOBAL}
        for i, (rq, sq) in enumerate(zip(self.rq, self.sq, strict=True)):
            if names == "kernel":  # tx first, packets and bytes only: Linux 7.3's names
                out |= {f"tx-{i}.{c.kernel}": sq[c.name] for c in TX if c.kernel}
                out |= {f"rx-{i}.{c.kernel}": rq[c.name] for c in RX if c.kernel}
                continue
            out |= {f"rq{i}_{c.name}": rq[c.name] for c in chosen(RX, pool=pool, own=own)}
            out |= {f"sq{i}_{c.name}": sq[c.name] for c in chosen(TX, pool=False, own=own)}
        return out

    @checked_call
    def text(self, *, names: Naming = "libie", pool: bool = False, own: bool = False) -> str:
        """Returns lines as of `ethtool -S`; then, behind `#`, units, age and what else to know."""
        rows = self.counters(names=names, pool=pool, own=own)
        lines = ["NIC statistics:"]
        lines += [f"     {name}: {value}" for name, value in rows.items()]
        lines += [f"# {remark}" for remark in self._remarks(names, pool=pool, own=own)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The PF's counters, and a column for each queue, as tables for notebooks."""
        link = f"up, {self.link_mbps} Mbit/s" if self.link_up else "down"
        shown = [("state", self.state), ("link", link), ("PF's sample", self.sampled)]
        shown += [(counter.name, str(self.pf[counter.name])) for counter in GLOBAL]
        parts = [html_table(f"Counters of {self.port}", shown)]
        for prefix, queues, rows in (
            ("rq", self.rq, chosen(RX, pool=False, own=True)),
            ("sq", self.sq, chosen(TX, pool=False, own=True)),
        ):
            heads = [f"counter of {prefix}N", *(str(i) for i in range(len(queues)))]
            counted = [(row.name, *(queue[row.name] for queue in queues)) for row in rows]
            parts.append(html_table(f"Queues of {self.port}", counted, heads))
        return "".join(parts)

    def _remarks(self, names: Naming, *, pool: bool, own: bool) -> Iterator[str]:
        yield f"{self.port}: {self.state}, {self.process}, user {self.user}"
        yield f"{GLOBAL[0].name} .. {GLOBAL[-1].name} are the PF's: {self.sampled}"
        yield FCS_RULE
        if names == "kernel":
            shown = [("", GLOBAL), ("tx-N.", _mainline(TX)), ("rx-N.", _mainline(RX))]
        else:
            rx, tx = chosen(RX, pool=pool, own=own), chosen(TX, pool=False, own=own)
            shown = [("", GLOBAL), ("rqN_", rx), ("sqN_", tx)]
        units: dict[str, list[str]] = {}
        for prefix, table in shown:
            for counter in table:
                units.setdefault(counter.unit, []).append(prefix + counter.name)
        for unit, counted in units.items():
            yield f"in {unit}: {' '.join(counted)}"
        for prefix, table in shown:
            yield from (f"{prefix}{each.name} is {each.note}" for each in table if each.still)

    @property
    def sampled(self) -> str:
        """How old the PF's answer is, in words."""
        return "never asked" if self.age is None else f"sampled {max(self.age, 0.0):.1f} s ago"

    @checked_call
    def as_dict(
        self, *, names: Naming = "libie", pool: bool = False, own: bool = True
    ) -> dict[str, object]:
        """Port, state, age of the PF's sample in seconds, and the counters in order.

        The form is that of `iavfio.stats.records.CountersRecord`.
        """
        return {
            "schema": COUNTERS,
            "port": self.port,
            "device": self.device,
            "transport": self.transport,
            "state": self.state,
            "last_state": self.last_state,
            "alive": self.alive,
            "pid": self.pid,
            "process": self.process,
            "user": self.user,
            "link": {"up": self.link_up, "mbps": self.link_mbps, "changes": self.link_changes},
            "resets": self.resets,
            "mac": self.mac,
            "labels": self.labels,
            "pf_sample_age_s": None if self.age is None else round(self.age, 3),
            "torn": list(self.torn),
            "counters": self.counters(names=names, pool=pool, own=own),
        }

    @checked_call
    def to_json(self, *, names: Naming = "libie", pool: bool = False, own: bool = True) -> str:
        """`as_dict` as one JSON object."""
        return json.dumps(self.as_dict(names=names, pool=pool, own=own), indent=2)

    def __str__(self) -> str:
        return self.text()
