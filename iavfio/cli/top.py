# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio top`: a live view of running ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from iavfio.cli import candidates
from iavfio.cli.group import Command
from iavfio.cli.options import Number
from iavfio.cli.runtime_dir import runtime_dir_option
from iavfio.ranges import EVERY

if TYPE_CHECKING:
    from rich.console import Console

    from iavfio.live.watch import Watch

STATUS = (
    "Example: iavfio top vf0 --interval 0.5. Exit status: 0 done; 1 a port may not be read, or has "
    "ended; 2 wrong use, also a port that does not exist; 130 Ctrl-C; 143 SIGTERM."
)
FOOTER = "q quits"


@click.command("top", cls=Command, needs=("iavfio.stats",), status=STATUS)
@click.argument("ports", metavar="[PORT]...", nargs=-1, shell_complete=candidates.port)
@click.option(
    "--interval",
    type=Number(EVERY, "SECONDS"),
    default=1.0,
    show_default=True,
    help="How often the view changes.",
)
@runtime_dir_option
def command(ports: tuple[str, ...], interval: float) -> None:
    """Show what PORTs do, or all ports: rates, share of the line, queues, losses, resets, link.

    q or Ctrl-C ends it with a summary; Ctrl-Z stops it, and fg brings the view back. Where the
    output is no terminal, one interval is shown as plain text; 'iavfio stats --interval' prints
    lines for a log or a program. Ports are read from their shared segments and not disturbed.
    NO_COLOR is respected.
    """
    from rich.console import Console

    from iavfio.live.watch import Watch

    watch = Watch(ports)
    console = Console(highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        _live(watch, console, interval)
    else:
        _once(watch, console, interval)


def _once(watch: Watch, console: Console, interval: float) -> None:
    import time

    from iavfio.live.view import View

    view = View(interval)
    time.sleep(interval)
    found = watch.step()
    view.update(found, watch.totals())
    console.print(view, end="")


def _live(watch: Watch, console: Console, interval: float) -> None:
    from rich.live import Live

    from iavfio.cli.keyboard import Quit, keyboard
    from iavfio.cli.suspension import Suspension
    from iavfio.live.clock import beats
    from iavfio.live.text import total_line
    from iavfio.live.view import View, frame

    view = View(interval)
    shown = frame(view, FOOTER)

    def leave() -> None:
        console.set_alt_screen(False)
        console.show_cursor(True)
        keys.give_back()

    def come_back() -> None:
        keys.take()
        console.set_alt_screen(True)
        console.show_cursor(False)
        live.refresh()

    def wait(seconds: float) -> None:
        with suspension.allowed():
            keys.wait(seconds)

    try:
        with (
            Suspension(leave, come_back) as suspension,
            keyboard() as keys,
            Live(shown, console=console, screen=True, auto_refresh=False) as live,
        ):
            live.refresh()
            for _ in beats(interval, wait=wait):
                view.update(watch.step(), watch.totals())
                live.refresh()
    except Quit:
        pass
    finally:
        for total in watch.totals():
            click.echo(f"in all: {total_line(total)}")
