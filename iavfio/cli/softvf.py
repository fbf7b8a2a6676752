# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio softvf`: a software PF whose VFs any vfio-user client can open."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import Any, Literal

import click

from iavfio.arguments import counted
from iavfio.cli import service, signals
from iavfio.cli.cards import PERSONALITIES, PFS, Twist
from iavfio.cli.devices import SocketDirectory
from iavfio.cli.group import Command
from iavfio.cli.options import Number, Word
from iavfio.cli.printing import definition, printing, tell
from iavfio.errors import ConfigError
from iavfio.ranges import VFS


@click.command(
    "softvf",
    cls=Command,
    needs=("iavfio.softvf.process",),
    example="iavfio softvf --socket /tmp/pf --vfs 2, then: iavfio info vfio-user:/tmp/pf/vf0.sock",
)
@click.option(
    "--vfs",
    type=Number(VFS),
    default=1,
    show_default=True,
    help="Number of VFs, each with its socket.",
)
@click.option(
    "--personality",
    type=Word(PERSONALITIES),
    default=None,
    help="The card (and its PF driver) to imitate; without it e810, and x710 with --pf linux-i40e.",
)
@click.option(
    "--pf",
    type=Word(PFS),
    metavar="PF",
    default="software",
    show_default=True,
    help="Who drives the VFs: a software PF, or Linux's own driver, which is built once (7 to 11 "
    f"minutes): {', '.join(PFS)}.",
)
@click.option(
    "--socket",
    "directory",
    type=SocketDirectory(),
    metavar="DIR",
    help="Where the sockets vf0.sock ... go; a fresh private directory by default.",
)
@click.option(
    "--uplink",
    default="loopback",
    show_default=True,
    help="none, loopback, tap:NAME, pcap:IN[,OUT][,start=N][,loop=N][,pace=P], or gen.",
)
@click.option(
    "--writeback",
    type=Word(["hardware", "immediate"]),
    default="hardware",
    show_default=True,
    help="When completed descriptors become visible.",
)
@click.option(
    "--doorbells",
    type=Word(["shared", "trapped"]),
    default="shared",
    show_default=True,
    help="Whether clients may map the two pages of doorbells.",
)
@click.option(
    "--option",
    "options",
    type=Twist(),
    multiple=True,
    metavar="KEY=VALUE",
    help="Changes how the card or its PF behaves, as delay_us=250; may be given several times. "
    "`help` lists all.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print each violation on stderr.")
def command(
    vfs: int,
    personality: str | None,
    pf: str,
    directory: Path | None,
    uplink: str,
    writeback: Literal["hardware", "immediate"],
    doorbells: Literal["shared", "trapped"],
    options: tuple[str, ...],
    verbose: bool,
) -> int:
    """Run a software PF: virtual VFs on one switch, served over vfio-user sockets.

    Prints the sockets, then "ready". Ctrl-C ends it and prints a summary. A socket serves one
    client at a time: iavfio, QEMU's vfio-user-pci, or any other of this user or root.
    """
    from iavfio.softvf.personality import OPTIONS, check_effect, parse_option
    from iavfio.softvf.process import Settings, run

    if any(option in ("?", "help") for option in options):
        for name, option in OPTIONS.items():
            tell(definition(name, str(option)))
        return 0
    if pf != "software":
        _check(pf, options)
    card = personality or _card(pf)
    check_effect(card, map(parse_option, options))
    settings = Settings(
        vfs=vfs,
        personality=card,
        pf=pf,
        directory=directory,
        uplink=uplink,
        writeback=writeback,
        doorbells=doorbells,
        options=options,
        verbose=verbose,
    )
    summary = io.StringIO()
    signal = run(settings, _print_ready, summary=summary, ended=service.stopping, obtain=_obtain)
    tell(summary.getvalue().rstrip("\n"))
    return 128 + signal if signal else 0


def _check(pf: str, options: tuple[str, ...]) -> None:
    """Refuses what Linux's driver decides, before it is said which other card would have it."""
    from iavfio.softvf import linux_pf
    from iavfio.softvf.personality import parse_option

    linux_pf.check_options(pf, dict(map(parse_option, options)))


def _card(pf: str) -> str:
    """The card of VFs that nobody has chosen one for."""
    from iavfio.softvf import linux_pf

    return "e810" if pf == "software" else linux_pf.personality(pf)


def _obtain(pf: str) -> None:
    """Makes Linux's driver, unless it is there; tells on stderr what it does meanwhile."""
    from iavfio.linuxpf.build import obtain
    from iavfio.linuxpf.cache import LabError, Unavailable
    from iavfio.softvf.linux_pf import kernel

    try:
        with contextlib.redirect_stdout(sys.stderr):
            obtain(kernel(pf))
    except (LabError, Unavailable) as error:
        raise ConfigError(
            f"Linux's PF driver for --pf {pf} cannot be had",
            str(error),
            "start without --pf for a software PF",
        ) from error


def _print_ready(ready: dict[str, Any]) -> None:
    from iavfio.softvf.process import print_ready

    with printing(), signals.raised(anyway=True):  # nobody may ever read it
        print_ready(ready)
    service.ready(f"serving {counted(len(ready['sockets']), 'VF')}, control at {ready['control']}")
