# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio stats --interval`: rates as lines of text or JSON, and a summary at the end."""

from __future__ import annotations

import click

from iavfio.errors import IavfioError


def print_rates(port: str | None, interval: float, count: int | None, as_json: bool) -> int:
    """Prints what PORT, or every port, does in each interval; the exit status.

    Ctrl-C and SIGTERM pass through, after the summary.
    """
    from iavfio.live.clock import beats
    from iavfio.live.rates import as_json as json_line
    from iavfio.live.text import line, total_line
    from iavfio.live.watch import Watch

    watch = Watch([port] if port is not None else [])
    try:
        for _ in beats(interval, count):
            for each in watch.step():
                click.echo(json_line(each) if as_json else line(each))
    finally:
        for total in watch.totals():
            click.echo(json_line(total) if as_json else f"in all: {total_line(total)}")
    if watch.gone:
        raise IavfioError(
            f"no process runs {', '.join(watch.gone)} any more",
            "it was closed, or its process has ended",
            "see what runs: iavfio stats",
        )
    return 0
