# SPDX-License-Identifier: BSD-3-Clause
"""The command `iavfio` and what its subcommands have in common."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from iavfio import __version__
from iavfio.arguments import nearest
from iavfio.cli import signals
from iavfio.cli.log_level import log_level_option
from iavfio.exhaustion import require_address_space

SUMMARIES = {  # shown by --help without importing the commands
    "bench": "Measure throughput with exact packet accounting.",
    "bind": "Bind VFs to vfio-pci, recording what was changed.",
    "capture": "Write what a VF receives, or a running port moves, to a pcapng file.",
    "completion": "Print the script by which a shell completes the command line.",
    "doctor": "Name what of this host keeps VFs from working or from working fast.",
    "exporter": "Serve the counters of all running ports as metrics for Prometheus.",
    "fleet": "Measure over a fleet of hosts: one bench, or one search for the no-drop rate.",
    "gen": "Generate streams of traffic, and count them exactly at both ends.",
    "info": "Show a VF: identity, limits, and what the PF granted or denied.",
    "journal": "Record, print and compare what drivers say to their PF.",
    "list": "List Intel PFs and VFs of this host.",
    "ndr": "Find the highest rate at which a way loses nothing, with its latency.",
    "preload": "Run any VFIO program, such as DPDK's, on software VFs.",
    "punt": "Give the kernel what it has to see of a VF's traffic, through a TAP and back.",
    "qualify": "Try a card in every way that iavfio uses it, and write down what it does.",
    "replay": "Send the frames of a capture file, as captured or at a rate.",
    "report": "Compare reports of ndr and bench: what became better, what worse.",
    "schema": "Print the JSON schema of what a command prints.",
    "softvf": "Run a software PF with VFs that any VFIO-user client can open.",
    "stats": "Dump the libie counters of a running port, as ethtool -S does, or its rates.",
    "telemetry": "Answer DPDK's telemetry tools for all running ports.",
    "top": "Show what running ports do: rates, queues, losses, resets, link.",
    "unbind": "Undo what bind changed.",
    "vf": "List, make and set up the VFs of a PF: MAC, VLAN, trust, spoof check, link, rate.",
    "why": "Name what keeps a port from receiving, or makes its packets vanish.",
}
USUAL, MARGIN, LEAST, NARROW = 80, 2, 20, 60  # columns of help
OPENING = "iavfio.opening"  # leads to NumPy
STATUS = (
    "Exit status: 0 done; 1 the result is not sound, or a device, its PF or the host failed; "
    "2 wrong use, also the name of a device, port, socket or file that does not exist; 130 Ctrl-C; "
    "143 SIGTERM, whatever becomes of device and PF after that."
)


class HelpFormatter(click.HelpFormatter):
    """Help as wide as the terminal or $COLUMNS, at most 80; click's own is never under 50."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        columns = min(shutil.get_terminal_size().columns, max_width or USUAL)
        super().__init__(indent_increment, width or max(columns - MARGIN, LEAST), max_width)

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """As click's; on a narrow terminal what a word means stands below it."""
        if self.width < NARROW:
            col_max = MARGIN
        super().write_dl(rows, col_max, col_spacing)


class Context(click.Context):
    """Formats help as above."""

    formatter_class = HelpFormatter


class Command(click.Command):
    """A subcommand. Signals are exceptions while it works, --help tells its exit status, and
    --log-level has it log.

    `needs` names modules that are imported before that: a signal that comes meanwhile ends the
    process at once. `example` is a command line, `status` replaces the usual sentence about the
    exit status.
    """

    context_class = Context

    def __init__(
        self,
        *args: Any,
        needs: Sequence[str] = (),
        example: str = "",
        status: str = STATUS,
        **extra: Any,
    ) -> None:
        super().__init__(*args, **({"epilog": _epilog(example, status)} | extra))
        self.params.append(log_level_option())
        self._needs = tuple(needs)

    def invoke(self, ctx: click.Context) -> Any:
        if OPENING in self._needs:
            require_address_space()
        for name in self._needs:
            importlib.import_module(name)
        try:
            with signals.raised():
                return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:  # click would forget which signal it was
            raise click.exceptions.Exit(signals.status(interrupt)) from interrupt


def _epilog(example: str, status: str) -> str:
    return f"Example: {example}\n\n{status}" if example else status


class Group(click.Group):
    """A command with subcommands; for one that it does not have it suggests the nearest."""

    command_class = Command
    context_class = Context

    def __init__(self, *args: Any, example: str = "", **extra: Any) -> None:
        super().__init__(*args, **({"epilog": _epilog(example, "") or None} | extra))
        self.params.append(log_level_option())

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if self.get_command(ctx, word) is None and not word.startswith("-"):
            known = self.list_commands(ctx)
            close = nearest(word, known)
            hint = f"Did you mean {close!r}?" if close else f"Commands are {', '.join(known)}."
            ctx.fail(f"No such command {word!r}. {hint}")
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """Finds a subcommand `name` as `command` in iavfio.cli.name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        here = Path(__file__).parent
        return [name for name in SUMMARIES if (here / f"{name}.py").exists()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"iavfio.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES[name]) for name in self.list_commands(ctx)])


@click.group(
    cls=LazyGroup,
    epilog=_epilog("iavfio bench softvf --duration 3", STATUS),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="iavfio %(version)s")
def group() -> None:
    """Drive an Intel VF (E810, X710, X722), or a software VF that stands in for one."""
