# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio list`: the PFs and VFs of this host."""

from __future__ import annotations

import json

import click

from iavfio.cli.group import Command
from iavfio.cli.printing import note, tagged, tell


@click.command("list", cls=Command, needs=("iavfio.host.listing",), example="iavfio list --json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def command(as_json: bool) -> None:
    """List Intel PFs and VFs of this host, in the form of dpdk-devbind --status.

    Each line has the PCI address, name and device id, then: if= network interface, drv= driver,
    unused= drivers that could take it, vfs= VFs created/possible, group= IOMMU group, node= what
    VFIO opens. *Active*: the interface has an address, a route, or is part of a bond or bridge.
    """
    from iavfio.host import Tree, discover, listing

    found = discover(Tree())
    if as_json:
        from iavfio.cli.records import FunctionRecord

        items = [tagged(FunctionRecord, item) for item in listing.data(found)]
        tell(json.dumps(items, indent=2))
        return
    for line in listing.lines(found):
        tell(line)
    if not found:
        note(
            "no PF with SR-IOV and no Intel adaptive VF on this host\n"
            "  a software VF needs none: iavfio softvf --help",
        )
