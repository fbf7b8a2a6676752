# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio schema`: what the JSON of a command looks like, for the programs that read it."""

from __future__ import annotations

import importlib
import json

import click

from iavfio.arguments import unknown
from iavfio.cli.group import Command

RECORDS = {  # command: what prints them, module, and the records that its lines are
    "stats": ("iavfio stats --interval --json", "iavfio.live.rates", ("PortRates", "PortTotal")),
}
STATUS = "Example: iavfio schema stats. Exit status: 0 done; 2 wrong use."


@click.command("schema", cls=Command, status=STATUS)
@click.argument("name", metavar="[COMMAND]", required=False)
def command(name: str | None) -> None:
    """Print the JSON schema of the lines that COMMAND prints; without COMMAND, list those known.

    Each line has a field "schema" with a name and a version, as iavfio.stats.rates/1. A field that
    is added keeps the version; one that goes or changes its meaning gets a new one.
    """
    if name is None:
        for each, (prints, _, _) in RECORDS.items():
            click.echo(f"{each}: the lines of {prints}")
        return
    if name not in RECORDS:
        raise unknown("schema of a command", name, RECORDS)
    _, module, names = RECORDS[name]
    import msgspec

    types = [getattr(importlib.import_module(module), each) for each in names]
    union = types[0]
    for each in types[1:]:
        union |= each
    click.echo(json.dumps(msgspec.json.schema(union), indent=2))
