# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio stats`: the counters of a running port, from any process."""

from __future__ import annotations

from typing import Literal

import click


@click.command("stats")
@click.argument("port", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--pool", is_flag=True, help="Add the 11 page-pool counters of each receive queue.")
@click.option("--all", "own", is_flag=True, help="Add iavfio's own counters (drops, polls, ...).")
@click.option(
    "--names",
    type=click.Choice(["libie", "kernel"]),
    default="libie",
    show_default=True,
    help="Names of libie, or the fewer ones of the mainline driver.",
)
def command(
    port: str | None, as_json: bool, pool: bool, own: bool, names: Literal["libie", "kernel"]
) -> None:
    """Dump the counters of PORT as `ethtool -S` does; without PORT, list the running ports.

    A port is named by its name, PCI address or socket base name. The port's process is not
    disturbed: its shared segment is read, no lock is taken, no device is opened.
    """
    from iavfio.stats import known_ports, read

    if port is None:
        for name in known_ports():
            click.echo(name)
        return
    snapshot = read(port)
    if as_json:
        click.echo(snapshot.to_json(names=names, pool=pool, own=own))
    else:
        click.echo(snapshot.text(names=names, pool=pool, own=own))
    if not snapshot.alive:
        click.echo(
            f"iavfio: process {snapshot.pid} that ran {port!r} has died; these are its last counts",
            err=True,
        )
    if snapshot.torn:
        click.echo(f"iavfio: torn, the writer died: {', '.join(snapshot.torn)}", err=True)
