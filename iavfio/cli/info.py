# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio info`: a VF's identity and limits, and what the PF granted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from iavfio.cli.devices import Vf
from iavfio.cli.group import Command
from iavfio.cli.options import device_arguments, device_options
from iavfio.cli.printing import note, tagged, tell
from iavfio.cli.private_pf import check_used
from iavfio.cli.runtime_dir import runtime_dir_option
from iavfio.cli.targets import naming_the_holder

if TYPE_CHECKING:
    from iavfio.port.port import Port


@click.command("info", cls=Command, needs=("iavfio.opening",), example="iavfio info softvf")
@click.argument("target", metavar="VF", type=Vf())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--journal", is_flag=True, help="Add every mailbox message of the negotiation.")
@device_options
@runtime_dir_option
def command(target: str, as_json: bool, journal: bool, **device: Any) -> None:
    """Open VF, negotiate, print what it is and what its PF grants and denies, and close it.

    Opening resets the VF: a VF that another program runs is refused, not disturbed.
    """
    from iavfio.opening import open_port

    check_used([target])
    arguments = device_arguments(device, target)
    with naming_the_holder([target]), open_port(target, **arguments) as port:
        port.wait_link(0.5)
        facts = _facts(port)
        if as_json:
            from iavfio.cli.records import InfoRecord

            facts["capabilities"] = {
                "asked": [c.name for c in port.capabilities.asked_list],
                "granted": [c.name for c in port.capabilities.granted_list],
                "unasked": [c.name for c in port.capabilities.unasked],
                "denied": {c.name: c.without for c in port.capabilities.denied},
            }
            tell(json.dumps(tagged(InfoRecord, facts), indent=2))
        else:
            width = max(map(len, facts))
            for name, value in facts.items():
                text = "none" if value is None else value
                tell(f"{name.replace('_', ' '):<{width}}  {text}")
            tell(str(port.capabilities))
        if journal:
            for entry in port.journal:
                (note if as_json else tell)(str(entry))


def _facts(port: Port) -> dict[str, Any]:
    resources, identity = port.session.resources, port.identity
    return {
        "device": port.device.name,
        "transport": port.device.transport,
        "family": f"{identity.family} ({identity.vendor:04x}:{identity.device:04x} rev "
        f"{identity.revision:02x})",
        "numa_node": port.numa_node,
        "virtchnl": str(port.session.client.spoken),
        "mac": port.mac.hex(":"),
        "mac_from": "PF" if resources.vsi.mac else "made here: the PF gives none",
        "link": str(port.link),
        "vsi": resources.vsi.vsi_id,
        "queue_pairs": resources.queue_pairs,
        "queue_pairs_most": port.max_queues,
        "vectors": resources.max_vectors,
        "max_frame": port.session.max_frame,
        "rss_key_bytes": resources.key_size,
        "rss_table_entries": resources.lut_size,
        "rx_descriptor": f"flexible, RXDID {port.session.rxdid}"
        if port.session.rxdid
        else "legacy 32 bytes",
    }
