# SPDX-License-Identifier: BSD-3-Clause
"""Rates as plain lines of text."""

from __future__ import annotations

import time

from iavfio.live.rates import Direction, PortRates, PortTotal

STEPS = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))


def scaled(value: float, unit: str) -> str:
    """Three digits with a prefix and the unit: 1.23 Mpps, 12.3 Gbit/s, 0 pps."""
    prefix, factor = next(
        (step for step in reversed(STEPS) if abs(value) >= step[1] * 0.9995), STEPS[0]
    )
    number = value / factor
    digits = 0 if not prefix and number == int(number) else max(0, 3 - len(f"{number:.0f}"))
    return f"{number:.{digits}f} {prefix}{unit}"


def share(value: float | None) -> str:
    """A share as a percentage, "-" when it is unknown."""
    return "-" if value is None else f"{value:.1%}"


def drops_text(drops: dict[str, int]) -> str:
    """The sum, and each reason with its count."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in drops.items())
    return f"drops {sum(drops.values())}" + (f" ({reasons})" if reasons else "")


def line(each: PortRates) -> str:
    """One interval of one port."""
    clock = time.strftime("%H:%M:%S", time.localtime(each.time))
    parts = [clock, each.port, each.state, _direction("rx", each.rx), _direction("tx", each.tx)]
    parts.append(drops_text(each.drops))
    if each.imbalance is not None:
        parts.append(f"imbalance {each.imbalance:.2f}")
    parts += [f"[{event}]" for event in each.events]
    return "  ".join(parts)


def total_line(total: PortTotal) -> str:
    """All intervals of one port."""
    return (
        f"{total.port}: {total.seconds:.1f} s, {total.state}, "
        f"rx {total.rx.packets} packets, {total.rx.bytes} bytes, {scaled(total.rx.pps, 'pps')}, "
        f"tx {total.tx.packets} packets, {total.tx.bytes} bytes, {scaled(total.tx.pps, 'pps')}, "
        f"{drops_text(total.drops)}, resets {total.resets}, link changes {total.link_changes}"
    )


def _direction(name: str, each: Direction) -> str:
    rates = f"{scaled(each.pps, 'pps')} {scaled(each.bps, 'bit/s')}"
    return f"{name} {rates} {share(each.line_share)}"
