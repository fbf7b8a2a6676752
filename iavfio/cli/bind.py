# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio bind`: VFs to vfio-pci."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from iavfio.cli.devices import PciAddress
from iavfio.cli.group import Command
from iavfio.cli.printing import tell

if TYPE_CHECKING:
    from iavfio.host import Bound


@click.command(
    "bind", cls=Command, needs=("iavfio.host",), example="iavfio bind 0000:3b:02.0 --dry-run"
)
@click.argument("bdfs", metavar="BDF...", nargs=-1, required=True, type=PciAddress())
@click.option("--force", is_flag=True, help="Also what is in use, or leaves a group not viable.")
@click.option("-n", "--dry-run", is_flag=True, help="Show each change, make none.")
@click.option("-v", "--verbose", is_flag=True, help="Show each change as it is made.")
def command(bdfs: tuple[str, ...], force: bool, dry_run: bool, verbose: bool) -> None:
    """Bind VFs to vfio-pci, by PCI address or interface name; `iavfio unbind` undoes it.

    All functions are checked before the first is changed. An interface in use is refused without
    --force. What was changed is recorded below /run/iavfio.
    """
    from iavfio.host import LinuxKernel, Tree, Writer, bind, resolve

    tree = Tree()
    resolved = [resolve(tree, written) for written in bdfs]
    options = " --force" if force else ""
    writer = Writer(
        LinuxKernel(),
        (lambda line: tell(f"  {line}")) if dry_run or verbose else (lambda line: None),
        f"bind{options} {' '.join(resolved)}",
        dry_run,
    )
    for outcome in bind(tree, resolved, writer, force=force):
        for line in report(outcome, dry_run):
            tell(line)


def report(outcome: Bound, dry_run: bool) -> list[str]:
    """What a user wants to know about one function that was bound."""
    function = outcome.function
    if outcome.already:
        return [f"{function.bdf} is already bound to {function.driver}"]
    if dry_run:
        return [
            f"{function.bdf} would be bound to vfio-pci (now: {function.driver or 'no driver'})"
        ]
    lines = [f"{function.bdf} bound to vfio-pci (was: {outcome.previous or 'no driver'})"]
    lines += [f"  warning: {warning}" for warning in outcome.warnings]
    if function.nodes:
        user = os.environ.get("SUDO_USER") or "USER"
        rule = f'SUBSYSTEM=="vfio", OWNER="{user}"'
        lines += [
            f"  to open it without root: sudo chown {user} {' '.join(function.nodes)}",
            f"  or for good: echo '{rule}' | sudo tee /etc/udev/rules.d/60-vfio.rules",
        ]
    return lines
