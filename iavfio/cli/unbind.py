# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio unbind`: VFs back to their drivers."""

from __future__ import annotations

import click

from iavfio.cli.devices import PciAddress
from iavfio.cli.group import Command
from iavfio.cli.printing import tell


@click.command("unbind", cls=Command, needs=("iavfio.host",), example="iavfio unbind 0000:3b:02.0")
@click.argument("bdfs", metavar="BDF...", nargs=-1, type=PciAddress())
@click.option("-a", "--all", "everything", is_flag=True, help="All that bind changed.")
@click.option("--force", is_flag=True, help="Also while a process has the VF open; waits for it.")
@click.option("-n", "--dry-run", is_flag=True, help="Show each change, make none.")
@click.option("-v", "--verbose", is_flag=True, help="Show each change as it is made.")
def command(
    bdfs: tuple[str, ...], everything: bool, force: bool, dry_run: bool, verbose: bool
) -> None:
    """Undo what bind changed: the previous driver gets the VF back, the override is restored."""
    from iavfio.host import LinuxKernel, Tree, Writer, recorded, unbind
    from iavfio.host.address import normal, resolve

    if bool(bdfs) == everything:
        raise click.UsageError("give either PCI addresses or --all")
    tree = Tree()
    known = recorded(tree)
    # A recorded VF may be gone: its address need not exist.
    asked = (
        known
        if everything
        else [b if (b := normal(w)) in known else resolve(tree, w) for w in bdfs]
    )
    if not asked:
        tell("nothing is recorded as bound by iavfio")
        return
    writer = Writer(
        LinuxKernel(),
        (lambda line: tell(f"  {line}")) if dry_run or verbose else (lambda line: None),
        f"unbind {'--all' if everything else ' '.join(asked)}",
        dry_run,
    )
    for outcome in unbind(tree, asked, writer, force=force):
        tell(f"{outcome.bdf} {outcome.outcome}")
