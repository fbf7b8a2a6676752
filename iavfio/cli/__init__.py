# SPDX-License-Identifier: BSD-3-Clause
"""The command line: one file per subcommand, imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import click

from iavfio import __version__

SUMMARIES = {  # shown by --help without importing the commands
    "bench": "Measure throughput with exact packet accounting.",
    "bind": "Bind VFs to vfio-pci, recording what was changed.",
    "info": "Show a VF: identity, limits, and what the PF granted or denied.",
    "journal": "Record, print and compare what drivers say to their PF.",
    "list": "List Intel PFs and VFs of this host.",
    "preload": "Run any VFIO program, such as DPDK's, on software VFs.",
    "softvf": "Run a software PF with VFs that any VFIO-user client can open.",
    "stats": "Dump the libie counters of a running port, as ethtool -S does.",
    "unbind": "Undo what bind changed.",
}


class LazyGroup(click.Group):
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


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="iavfio %(version)s")
def group() -> None:
    """Drive an Intel VF (E810, X710, X722), or a software VF that stands in for one."""


def main(argv: list[str] | None = None) -> None:
    """Runs the CLI: exit 0 done, 1 failed, 2 wrong usage, 130 interrupted; never a traceback.

    IAVFIO_DEBUG=1 shows where an error came from.
    """
    sys.exit(run(argv))


def run(argv: list[str] | None = None) -> int:
    """`main` without leaving the process: returns the exit status."""
    try:
        status = group.main(args=argv, prog_name="iavfio", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        return 130
    except BrokenPipeError:  # the reader, e.g. head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return report(error)
    return status if isinstance(status, int) else 0


def report(error: Exception) -> int:
    """Tells an error in one or two lines on stderr and returns its exit status."""
    if os.environ.get("IAVFIO_DEBUG"):
        raise error
    from iavfio.errors import ConfigError, IavfioError

    if isinstance(error, IavfioError):
        text = str(error)
    elif isinstance(error, OSError):
        text = f"{error.filename or 'system call'}: {error.strerror or error}"
    else:
        text = (
            f"internal error: {type(error).__name__}: {error}\n"
            "  run again with IAVFIO_DEBUG=1 and report what it prints"
        )
    click.echo(f"iavfio: {text}", err=True)
    return 2 if isinstance(error, ConfigError) else 1
