# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio why`: what keeps a port from receiving, or makes its packets vanish."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from iavfio.cli.group import Command
from iavfio.cli.options import Number
from iavfio.cli.runtime_dir import runtime_dir_option
from iavfio.ranges import INTERVAL

if TYPE_CHECKING:
    from iavfio.port.why import Finding

STATUS = (
    "Exit status: 0 nothing was found; 1 a cause was found, or the port cannot be looked at; "
    "2 wrong use; 130 Ctrl-C; 143 SIGTERM."
)
LINK_SECONDS = 2.0  # in which a link comes up after the start, where it does


@click.command("why", cls=Command, needs=("iavfio.opening",), status=STATUS)
@click.argument("target", metavar="PORT")
@click.option(
    "--interval",
    type=Number(INTERVAL, "SECONDS"),
    default=1.0,
    show_default=True,
    help="How long the counters of a running port are watched; 0 = since its start.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@runtime_dir_option
def command(target: str, interval: float, as_json: bool) -> int:
    """Name the causes for which PORT receives nothing or its packets vanish, each with its remedy.

    The name of a running port, as 'iavfio stats' lists it: its counters are watched, nothing is
    sent and nothing is disturbed. A PCI address, vfio-user:/path/of/socket or softvf that no
    program runs: it is opened (which resets the VF), started and probed with two frames.
    """
    from iavfio.stats import known_ports

    found = _watch(target, interval) if target in known_ports() else _probe(target)
    if as_json:
        click.echo(json.dumps({"port": target, "findings": [asdict(f) for f in found]}, indent=2))
    elif found:
        click.echo("\n".join(map(str, found)))
    else:
        click.echo(f"{target}: nothing was found that keeps packets from moving")
    return 1 if found else 0


def _watch(name: str, interval: float) -> list[Finding]:
    from iavfio.port.why import Facts, findings
    from iavfio.stats import read

    before = read(name)
    counts = before
    if interval:
        time.sleep(interval)
        counts = read(name).since(before)
    return findings(Facts(counts))


def _probe(target: str) -> list[Finding]:
    from iavfio.errors import DeviceError
    from iavfio.opening import open_port
    from iavfio.port.why import Finding

    with open_port(target) as port:
        try:
            port.start(wait_link=LINK_SECONDS)
        except DeviceError as error:
            return [Finding("cannot be started", error.what, error.cause, error.remedy)]
        return port.why()
