# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio softvf`: a software PF whose VFs any vfio-user client can open."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click


@click.command("softvf")
@click.option("--vfs", default=1, show_default=True, help="Number of VFs, each with its socket.")
@click.option(
    "--personality",
    type=click.Choice(["e810", "x710", "x722"]),
    default="e810",
    show_default=True,
    help="The card (and its PF driver) to imitate.",
)
@click.option(
    "--socket",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the sockets vf0.sock ... go; a fresh private directory by default.",
)
@click.option(
    "--uplink",
    default="loopback",
    show_default=True,
    help="none, loopback, tap:NAME, pcap:IN[,OUT], or gen.",
)
@click.option(
    "--writeback",
    type=click.Choice(["hardware", "immediate"]),
    default="hardware",
    show_default=True,
    help="When completed descriptors become visible.",
)
@click.option(
    "--doorbells",
    type=click.Choice(["shared", "trapped"]),
    default="shared",
    show_default=True,
    help="Whether clients may map the two pages of doorbells.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="A twist of the personality; may be given several times. `help` lists them.",
)
@click.option("-v", "--verbose", is_flag=True, help="Tell each violation on stderr.")
def command(
    vfs: int,
    personality: str,
    directory: Path | None,
    uplink: str,
    writeback: Literal["hardware", "immediate"],
    doorbells: Literal["shared", "trapped"],
    options: tuple[str, ...],
    verbose: bool,
) -> None:
    """Run a software PF: virtual VFs on one switch, served over vfio-user sockets.

    Prints the sockets, then "ready". Ctrl-C ends it and prints a summary. A socket serves one
    client at a time: iavfio, QEMU's vfio-user-pci, or any other of this user or root.
    """
    from iavfio.softvf.personality import OPTIONS
    from iavfio.softvf.process import Settings, print_ready, run

    if any(option in ("?", "help") for option in options):
        for name, option in OPTIONS.items():
            click.echo(f"{name:20} {option}")
        return
    settings = Settings(
        vfs=vfs,
        personality=personality,
        directory=directory,
        uplink=uplink,
        writeback=writeback,
        doorbells=doorbells,
        options=options,
        verbose=verbose,
    )
    run(settings, print_ready, summary=sys.stdout)
