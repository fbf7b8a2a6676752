# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio telemetry`: a socket at which DPDK's telemetry tools find all running ports."""

from __future__ import annotations

import re
from pathlib import Path

import click

from iavfio.cli import service
from iavfio.cli.group import Command
from iavfio.cli.runtime_dir import runtime_dir_option

STATUS = (
    "Example: iavfio telemetry, then: dpdk-telemetry.py -f iavfio. Exit status: 0 done; 1 the "
    "socket cannot be made, or is in use; 2 wrong use; 130 Ctrl-C; 143 SIGTERM."
)


def _prefix(context: click.Context, option: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._:+-]{0,63}", value, re.ASCII):
        raise click.BadParameter(
            f"{value!r} is no file prefix; it has 1 to 64 letters, digits and . _ : + -",
            context,
            option,
        )
    return value


@click.command("telemetry", cls=Command, needs=("iavfio.stats",), status=STATUS)
@click.option(
    "--file-prefix",
    default="iavfio",
    show_default=True,
    callback=_prefix,
    metavar="NAME",
    help="As of DPDK's programs; rte is what its tools look for when they are not told.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the socket is made, instead of DPDK's directory for the prefix; the directory is "
    "made when it is not there.",
)
@runtime_dir_option
def command(file_prefix: str, directory: Path | None) -> None:
    """Answer DPDK's telemetry tools (dpdk-telemetry.py, telegraf) for all running ports.

    The socket is dpdk_telemetry.v2 in /var/run/dpdk/NAME (root), in $XDG_RUNTIME_DIR/dpdk/NAME or
    /tmp/dpdk/NAME (others). It has /ethdev/list, stats, xstats, info and link_status. A port keeps
    its number while this command runs. Ports are read from their shared segments and not disturbed.
    """
    from iavfio.metrics.dpdk import Telemetry
    from iavfio.metrics.telemetry import runtime_dir, serving
    from iavfio.stats.runtime import check_readable

    check_readable()
    with serving(directory or runtime_dir(file_prefix), Telemetry()) as server:
        click.echo(f"serving DPDK's telemetry at {server.path}")
        with service.running(f"serving DPDK's telemetry at {server.path}"):
            while True:
                server.serve(1.0)
