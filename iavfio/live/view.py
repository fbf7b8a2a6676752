# SPDX-License-Identifier: BSD-3-Clause
"""The live view of `iavfio top`: ports, their queues, and what happened to them, for any width."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from iavfio.live.rates import Direction, PortRates, PortTotal, QueueRates
from iavfio.live.text import scaled, share

NARROW = 72  # columns below which only what matters most fits
RATE = len("99.9 kpps")  # characters that a rate takes
EVENTS = 6  # of the timeline that are shown
EIGHTHS = " ▏▎▍▌▋▊▉█"
STYLES = {"running": "green", "resetting": "yellow", "dead": "red", "failed": "red"}


def bar(part: float, width: int, ascii_only: bool = False) -> str:
    """`part` of `width` characters, from 0 to 1; what is not nothing shows at least a trace."""
    part = min(max(part, 0.0), 1.0)
    if ascii_only:
        return ("#" * max(round(part * width), int(part > 0))).ljust(width)
    steps = max(round(part * width * 8), int(part > 0))
    full, rest = divmod(steps, 8)
    return ("█" * full + (EIGHTHS[rest] if rest else "")).ljust(width)


class View:
    """A renderable of rich that shows the last step of a watch; `update` gives it the next one."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._ports: list[PortRates] | None = None
        self._totals: dict[tuple[str, str], PortTotal] = {}
        self._timeline: deque[tuple[float, str, str]] = deque(maxlen=EVENTS)

    def update(self, ports: Sequence[PortRates], totals: Sequence[PortTotal]) -> None:
        """Takes in what each port did in the last interval, and all the time."""
        self._ports = list(ports)
        self._totals = {(each.user, each.port): each for each in totals}
        for port in ports:
            self._timeline.extend((port.time, port.port, event) for event in port.events)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        narrow, plain = options.max_width < NARROW, options.ascii_only
        if self._ports is None:
            yield Text(f"counting for {self._interval:g} s ...", style="dim")
        elif not self._ports:
            yield Text("no port is running", style="dim")
        for port in self._ports or ():
            yield from self._port(port, options.max_width, narrow, plain)
        if self._timeline:
            yield Text("events", style="bold")
        for when, name, event in self._timeline:
            clock = time.strftime("%H:%M:%S", time.localtime(when))
            yield _line(f"  {clock}  {name}  ", event)

    def _port(
        self, port: PortRates, width: int, narrow: bool, plain: bool
    ) -> Iterator[RenderableType]:
        title = Text(overflow="crop", no_wrap=True)
        title.append(port.port, style="bold")
        title.append(f"  {port.state}", style=STYLES.get(port.state, "yellow"))
        title.append(f"  {_link(port)}", style="" if port.link_up else "yellow")
        if not narrow:
            title.append(f"  {port.device}", style="dim")
        yield title
        yield _directions(port, width, narrow, plain)
        yield from self._losses(port)
        yield _queues(port.queues, width, narrow, plain)
        yield Text("")

    def _losses(self, port: PortRates) -> Iterator[RenderableType]:
        """Drops by reason in the interval and in all; then what concerns the whole port."""
        total = self._totals.get((port.user, port.port))
        lost = total.drops if total is not None else port.drops
        for reason, count in lost.items():
            rate = port.drops.get(reason, 0) / port.seconds if port.seconds else 0.0
            style = "red" if rate else "dim"
            text = f"  lost: {reason} {scaled(rate, 'pps')}, {count} in all"
            yield Text(text, style=style, overflow="crop", no_wrap=True)
        facts = [] if lost else ["nothing lost"]
        if port.imbalance is not None:
            facts.append(f"imbalance {port.imbalance:.2f}")
        if total is not None:
            facts.append(f"resets {total.resets}")
        yield _line("  ", ", ".join(facts))


def _line(before: str, text: str) -> Text:
    return Text(before + text, overflow="crop", no_wrap=True)


def _link(port: PortRates) -> str:
    if not port.link_up:
        return "link down"
    return f"link up {scaled(port.link_mbps * 1e6, 'bit/s')}" if port.link_mbps else "link up"


def _directions(port: PortRates, width: int, narrow: bool, plain: bool) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, overflow="crop")
    for least in (RATE, RATE + 1, 6):  # so that figures stay where they are
        table.add_column(justify="right", no_wrap=True, overflow="crop", min_width=least)
    table.add_column(no_wrap=True, overflow="crop")
    for name, each, style in (("rx", port.rx, "green"), ("tx", port.tx, "cyan")):
        table.add_row(
            f"  {name}",
            scaled(each.pps, "pps"),
            scaled(each.bps, "bit/s"),
            share(each.line_share),
            Text(
                "" if narrow or each.line_share is None
                else "|" + bar(each.line_share, min(width - 48, 40), plain) + "|",
                style=style,
            ),
        )  # fmt: skip
    return table


def _queues(queues: Sequence[QueueRates], width: int, narrow: bool, plain: bool) -> Table:
    """A row a queue pair; bars are shares of the busiest queue in the same direction."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("   q", justify="right", no_wrap=True, overflow="crop")
    headings = ("rx", "") if narrow else ("rx", "", "tx", "")
    for heading in headings:
        table.add_column(heading, no_wrap=True, overflow="crop", min_width=0 if heading else RATE)
    table.add_column("a poll", justify="right", no_wrap=True, overflow="crop")
    table.add_column("empty", justify="right", no_wrap=True, overflow="crop")
    length = max(4, width - 34) if narrow else max(4, min((width - 46) // 2, 24))
    most_rx = max((each.rx.pps for each in queues), default=0.0)
    most_tx = max((each.tx.pps for each in queues), default=0.0)

    def shown(each: Direction, most: float, style: str) -> tuple[Text, str]:
        part = each.pps / most if most else 0.0
        return Text(bar(part, length, plain), style=style), scaled(each.pps, "pps")

    for each in queues:
        cells: list[RenderableType] = [str(each.queue), *shown(each.rx, most_rx, "green")]
        if not narrow:
            cells += shown(each.tx, most_tx, "cyan")
        polls = "-" if each.packets_per_poll is None else f"{each.packets_per_poll:.1f}"
        table.add_row(*cells, polls, share(each.empty_polls))
    return table


def frame(view: View, footer: str) -> Group:
    """The view with a line below it."""
    return Group(view, Text(footer, style="dim"))
