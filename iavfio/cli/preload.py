# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio preload`: a VFIO program on software VFs."""

from __future__ import annotations

import click

from iavfio.cli.devices import SocketPath
from iavfio.cli.group import Command
from iavfio.cli.options import Number
from iavfio.cli.printing import note
from iavfio.ranges import IOVA_BITS

PROGRAM = "iavfio.preload.program"


class ProgramCommand(Command):
    """A command that takes a program and its arguments after "--", as ctx.meta[PROGRAM]."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[PROGRAM] = tuple(args[at + 1 :])
        rest = super().parse_args(ctx, args[:at])
        if not ctx.meta[PROGRAM] and not ctx.resilient_parsing:
            raise click.UsageError("no program: give it after --, as in: SOCKET -- dpdk-testpmd")
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- PROGRAM [ARGS]..."]


@click.command(
    "preload",
    cls=ProgramCommand,
    needs=("iavfio.preload",),
    example="iavfio softvf --socket /tmp/vfs, then: iavfio preload /tmp/vfs/vf0.sock -- "
    "dpdk-testpmd --no-huge -m 512 --in-memory --iova-mode=va -l 0,1 -a 0000:b0:00.0 -- -i",
    status="Exit status: the program's, 128 + n when signal n ended it; 1 when a software VF does "
    "not answer; 2 wrong use, also a socket or program that does not exist, or a program that "
    "cannot be preloaded.",
)
@click.option("--sparse", is_flag=True, help="Show whole BARs only as far as the server maps them.")
@click.option(
    "--iova-bits",
    type=Number(IOVA_BITS),
    default=48,
    show_default=True,
    help="Width of the IOVA space that is shown, in bits.",
)
@click.option("--trace", is_flag=True, help="Print each VFIO call on stderr.")
@click.argument("sockets", metavar="SOCKET...", nargs=-1, required=True, type=SocketPath())
@click.pass_context
def command(
    ctx: click.Context,
    sockets: tuple[str, ...],
    sparse: bool,
    iova_bits: int,
    trace: bool,
) -> int:
    """Run a VFIO program, unmodified and without root, on the software VFs behind SOCKETs.

    The program finds the VFs as 0000:b0:00.0, 0000:b0:01.0, ... bound to vfio-pci, and no other PCI
    device. Its exit status is returned. It must be dynamically linked and not setuid.
    """
    from iavfio.preload import prepare

    with prepare(sockets, sparse=sparse, iova_bits=iova_bits, trace=trace) as preload:
        for one in preload.members:
            vendor, device = one.ids
            note(f"{one.bdf} {vendor:04x}:{device:04x} {one.socket}")
        return preload.run(ctx.meta[PROGRAM])
