# SPDX-License-Identifier: BSD-3-Clause
"""Every metric, made from the one table of counters (iavfio.stats.names).

A metric's name is room, counter and unit. Counters of lost packets share a metric, and the label
`reason` tells them apart. Counters that never move are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from iavfio.stats import GLOBAL, RX, TX, Counter
from iavfio.stats.names import PORT

Block = Literal["port", "vf", "rq", "sq"]
WHOSE = ("port", "user")
UNITS = {"events": ""}  # what is counted in events has no unit
PREFIXES = {"port": "iavfio_port", "vf": "iavfio_vf", "rq": "iavfio_rx_queue"}
PREFIXES["sq"] = "iavfio_tx_queue"
TABLES: tuple[tuple[Block, tuple[Counter, ...]], ...] = (
    ("port", PORT),
    ("vf", GLOBAL),
    ("rq", RX),
    ("sq", TX),
)


@dataclass(frozen=True)
class Metric:
    """One counter metric: `name` is without `_total`. `counters` maps reasons to counters' names.

    A metric without the label `reason` has one counter, under the reason "".
    """

    name: str
    unit: str
    help: str
    block: Block
    labels: tuple[str, ...]
    counters: dict[str, str]


def metrics() -> Iterator[Metric]:
    """All metrics of ports, in the order of the table."""
    for block, table in TABLES:
        labels = (*WHOSE, "queue") if block in ("rq", "sq") else WHOSE
        lost: dict[str, dict[str, str]] = {}
        for each in table:
            if each.lost:
                direction = each.name[:2] if block == "vf" else ""
                reason = each.name.removeprefix(f"{direction}_").removeprefix("drop_")
                lost.setdefault(direction, {})[reason] = each.name
            elif not each.still:
                unit = UNITS.get(each.unit, each.unit)
                name = f"{PREFIXES[block]}_{each.name}"
                if unit and not name.endswith(f"_{unit}"):
                    name += f"_{unit}"
                yield Metric(name, unit, _help(block, each), block, labels, {"": each.name})
        for direction, counters in lost.items():
            name = "_".join(filter(None, (PREFIXES[block], direction, "dropped_packets")))
            text = "; ".join(
                f"{reason}: {_cause(each)}"
                for reason, wanted in counters.items()
                for each in table
                if each.name == wanted
            )
            reasons = (*labels, "reason")
            yield Metric(
                name, "packets", f"Lost packets by reason. {text}", block, reasons, counters
            )


def _cause(each: Counter) -> str:
    """The meaning of a counter of lost packets without the verb that all of them have."""
    return each.meaning.removeprefix("dropped: ").removeprefix("refused: ")


def _help(block: Block, each: Counter) -> str:
    text = each.meaning[0].upper() + each.meaning[1:]
    if block == "vf":
        text += ", as the PF counts"
    return f"{text} ({each.note})" if each.note else text
