# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio stats`: the counters of a running port, from any process, and the list of ports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

import click

from iavfio.cli import candidates
from iavfio.cli.group import Command
from iavfio.cli.options import Number, Word
from iavfio.cli.printing import note, tell, wrapped
from iavfio.cli.rates import print_rates
from iavfio.cli.runtime_dir import runtime_dir_option
from iavfio.ranges import EVERY, LINES

if TYPE_CHECKING:
    from iavfio.stats import KnownPort

DEAD = "dead (process gone)"
MOST_TOLD = 5  # damaged files
STATUS = (
    "Example: iavfio stats --interval 1 --count 10. "
    "Exit status: 0 done; 1 the port may not be read, or with --interval it has ended; 2 wrong "
    "use, also a port that does not exist; 130 Ctrl-C; 143 SIGTERM."
)


@click.command("stats", cls=Command, needs=("iavfio.stats",), status=STATUS)
@click.argument("port", required=False, shell_complete=candidates.port)
@click.option(
    "--interval",
    type=Number(EVERY, "SECONDS"),
    help="Print rates, a line each so many seconds, and a summary at the end.",
)
@click.option("--count", type=Number(LINES), help="End after so many intervals.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print JSON, with --interval a line each; 'iavfio schema stats' describes it.",
)
@click.option("--pool", is_flag=True, help="Add the 11 page-pool counters of each receive queue.")
@click.option("--all", "own", is_flag=True, help="Add iavfio's own counters (drops, polls, ...).")
@click.option(
    "--names",
    type=Word(["libie", "kernel"]),
    default="libie",
    show_default=True,
    help="Names of libie, or the fewer ones of the mainline driver.",
)
@click.option("--clean", is_flag=True, help="Remove what dead ports left: your own, as root all.")
@runtime_dir_option
def command(
    port: str | None,
    interval: float | None,
    count: int | None,
    as_json: bool,
    pool: bool,
    own: bool,
    names: Literal["libie", "kernel"],
    clean: bool,
) -> int:
    """Dump the counters of PORT as `ethtool -S` does; without PORT, list the ports.

    A port is named by its name, PCI address or socket base name; USER/NAME when two users have the
    same. --interval shows rates instead, of PORT or of all ports. The port's process is not
    disturbed: its shared segment is read, no lock is taken, no device is opened. A user sees the
    ports that their owners published for him; root sees all.
    """
    shapes = [
        option
        for option, given in (("--pool", pool), ("--all", own), ("--names", names != "libie"))
        if given
    ]
    if clean:
        if port is not None:
            raise click.UsageError("--clean takes no PORT: it removes what every dead port left")
        if interval is not None:
            raise click.UsageError("--clean takes no --interval: it shows no rates")
        if shapes:
            raise click.UsageError(f"--clean takes no {shapes[0]}: it shows no counters")
        _clean(as_json)
    elif interval is not None:
        if shapes:
            raise click.UsageError("--interval takes no --pool, --all or --names: it shows rates")
        return print_rates(port, interval, count, as_json)
    elif count is not None:
        raise click.UsageError("--count needs --interval: use --interval 1")
    elif port is None:
        if shapes:
            raise click.UsageError(
                f"{shapes[0]} needs a PORT, whose counters it changes: iavfio stats PORT "
                f"{shapes[0]}{' kernel' if shapes[0] == '--names' else ''}"
            )
        _list(as_json)
    else:
        _dump(port, as_json, pool, own, names)
    return 0


def _clean(as_json: bool) -> None:
    from iavfio.stats import clean
    from iavfio.stats.schemas import REMOVED

    removed = clean()
    if as_json:
        tell(json.dumps({"schema": REMOVED, "removed": removed}))
    else:
        for name in removed:
            tell(f"{name}: removed, its process is gone")
    _note_damaged()


def _note_damaged() -> None:
    """Tells of files that have a port's name and are none; nobody else removes them."""
    from iavfio.stats import damaged

    found = damaged()
    for error in found[:MOST_TOLD]:
        note(wrapped(f"iavfio: {error}"))
    if len(found) > MOST_TOLD:
        note(f"iavfio: and {len(found) - MOST_TOLD} more files that are no segments")


def _list(as_json: bool) -> None:
    from iavfio.stats import ports, shown_base

    known = ports()
    if as_json:
        tell(json.dumps([port.as_dict() for port in known], indent=2))
    elif known:
        _table(known)
    else:
        note(f"no port is running (none has counters in {shown_base()})")
    _note_damaged()


def _table(known: list[KnownPort]) -> None:
    rows = [("PORT", "STATE", "USER", "PROCESS", "DEVICE")]
    for port in known:
        state = port.state if port.alive else DEAD
        rows.append((port.name, state, port.user, port.process, port.device))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        tell(line.rstrip())
    if not all(port.alive for port in known):
        note("iavfio: remove what the dead ones left with: iavfio stats --clean")


def _dump(
    port: str, as_json: bool, pool: bool, own: bool, names: Literal["libie", "kernel"]
) -> None:
    from iavfio.stats import read

    snapshot = read(port)
    if as_json:
        tell(snapshot.to_json(names=names, pool=pool, own=own))
    else:
        tell(snapshot.text(names=names, pool=pool, own=own))
    if not snapshot.alive:
        note(
            f"iavfio: {snapshot.process} that ran {port!r} is gone; these are its last counts",
        )
    if snapshot.torn:
        note(f"iavfio: torn, their writer stopped inside an update: {', '.join(snapshot.torn)}")
