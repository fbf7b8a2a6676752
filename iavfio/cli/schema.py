# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio schema`: what the JSON of a command looks like, for the programs that read it."""

from __future__ import annotations

import importlib
import json
from functools import reduce
from operator import or_
from typing import Any

import click

from iavfio.arguments import unknown
from iavfio.cli import candidates
from iavfio.cli.group import Command
from iavfio.cli.printing import tell

STATS = "iavfio.stats.records"
LIVE = "iavfio.live.rates"
VFS = "iavfio.vfs.records"
CAPTURE = "iavfio.capture.records"
DOCTOR = "iavfio.doctor.records"
FLEET = "iavfio.fleet.records"
GENERATOR = "iavfio.generator.records"
PUNT = "iavfio.punt.records"
QUALIFY = "iavfio.qualify.results"
CLI = "iavfio.cli.records"
BENCH = "iavfio.bench.records"
RECORDS = {  # command: what prints an object, and the module and name of its type
    "bench": (
        ("iavfio bench --json", BENCH, "BenchRecord"),
        ("iavfio bench --json, ended before its first packet", BENCH, "NothingRecord"),
    ),
    "capture": (("iavfio capture --json", CAPTURE, "CaptureRecord"),),
    "doctor": (
        ("iavfio doctor --json", DOCTOR, "ReportRecord"),
        ("iavfio doctor --undo --json", DOCTOR, "UndoneRecord"),
    ),
    "fleet": (
        ("iavfio fleet bench --json", FLEET, "FleetBenchRecord"),
        ("iavfio fleet ndr --json", FLEET, "FleetNdrRecord"),
    ),
    "gen": (("iavfio gen --json", GENERATOR, "GenRecord"),),
    "failure": (("any command --json that fails", CLI, "FailureRecord"),),
    "info": (("iavfio info --json", CLI, "InfoRecord"),),
    "list": (("iavfio list --json, a list", CLI, "FunctionRecord"),),
    "ndr": (("iavfio ndr --json", BENCH, "NdrRecord"),),
    "punt": (
        ("iavfio punt --json", PUNT, "PuntRecord"),
        ("iavfio punt --interval --json, a line", PUNT, "PuntInterval"),
    ),
    "qualify": (
        ("iavfio qualify --json, qualify show --json", QUALIFY, "ResultsRecord"),
        ("iavfio qualify diff --json", QUALIFY, "ComparisonRecord"),
    ),
    "replay": (("iavfio replay --json", CAPTURE, "ReplayRecord"),),
    "report": (("iavfio report diff --json", BENCH, "ComparisonRecord"),),
    "stats": (
        ("iavfio stats PORT --json", STATS, "CountersRecord"),
        ("iavfio stats --json, a list", STATS, "PortRecord"),
        ("iavfio stats --clean --json", STATS, "RemovedRecord"),
        ("iavfio stats --interval --json, a line", LIVE, "PortRates"),
        ("iavfio stats --interval --json, the last lines", LIVE, "PortTotal"),
    ),
    "why": (("iavfio why --json", CLI, "WhyRecord"),),
    "vf": (
        ("iavfio vf PF list --json", VFS, "PfRecord"),
        ("iavfio vf PF create, destroy, set, undo --json", VFS, "ChangeRecord"),
    ),
}
STATUS = "Example: iavfio schema stats. Exit status: 0 done; 2 wrong use."


@click.command("schema", cls=Command, status=STATUS)
@click.argument(
    "name",
    metavar="[COMMAND]",
    required=False,
    shell_complete=lambda ctx, param, text: candidates.words(RECORDS, text),
)
def command(name: str | None) -> None:
    """Print the JSON schema of the objects that COMMAND prints; without COMMAND, list those known.

    Each object has a field "schema" with a name and a version, as iavfio.stats.rates/1. A field
    that is added keeps the version; one that goes or changes its meaning gets a new one.
    """
    if name is None:
        for command_name, rows in RECORDS.items():
            for prints, module, record in rows:
                tag = _type(module, record).__struct_config__.tag
                tell(f"{command_name}  {tag}  {prints}")
        return
    if name not in RECORDS:
        raise unknown("schema of a command", name, RECORDS)
    import msgspec

    types = [_type(module, record) for _, module, record in RECORDS[name]]
    tell(json.dumps(msgspec.json.schema(reduce(or_, types)), indent=2))


def _type(module: str, record: str) -> Any:
    return getattr(importlib.import_module(module), record)
