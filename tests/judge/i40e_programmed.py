# SPDX-License-Identifier: BSD-3-Clause
"""What a PF has set up for VF 0's traffic: not what it remembers, but what serves frames.

i40e's are its commands on the firmware admin queue, its queues' contexts in the card's memory and
its registers, decoded as iavfio/softvf/linux_pf/i40e does. The software PF's are its calls of the
data plane.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from iavfio.softvf.linux_pf.i40e.queues import Queues
from iavfio.softvf.linux_pf.i40e.switch import Vsi
from iavfio.softvf.linux_pf.queues import RxQueue, TxQueue
from iavfio.softvf.vf_config import VfConfig

Cause = tuple[int, int]  # vector and ITR of one direction of a queue
Call = tuple[Any, ...]  # a row of RecordingPlane.calls: name, VF, arguments


def unlike(real: Any, soft: Any) -> dict[str, tuple[Any, Any]]:
    """The fields in which two of one dataclass differ, by name, with both values."""
    names = [field.name for field in fields(real)]
    both = {name: (getattr(real, name), getattr(soft, name)) for name in names}
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}


@dataclass(frozen=True)
class Programmed:
    """Filters and flags of the switch; contexts of queues that run; vectors of all queues.

    A filter of i40e's is of an address and a VLAN: without an address there is none.
    """

    macs: frozenset[bytes]
    vlans: frozenset[int]
    every_vlan: bool  # frames of VLANs without a filter come in, too
    port_vlan: int
    strip: bool
    spoof_check: bool
    unicast: bool
    multicast: bool
    rx: dict[int, RxQueue]
    tx: dict[int, TxQueue]
    rx_causes: dict[int, Cause]
    tx_causes: dict[int, Cause]


def by_linux(vsi: Vsi, queues: Queues) -> Programmed:
    """What i40e has programmed into the card."""
    causes: tuple[dict[int, Cause], dict[int, Cause]] = ({}, {})
    for number, vector in enumerate(queues.vectors):
        for queue in range(queues.pairs):
            if vector.rx_map >> queue & 1:
                causes[0][queue] = number, vector.rx_itr
            if vector.tx_map >> queue & 1:
                causes[1][queue] = number, vector.tx_itr
    return Programmed(
        macs=frozenset(vsi.macs),
        vlans=vsi.vlans - {vsi.port_vlan},
        every_vlan=vsi.takes_any or not vsi.macs,
        port_vlan=vsi.port_vlan,
        strip=vsi.strip and not vsi.port_vlan,
        spoof_check=vsi.check_mac,
        unicast=bool(vsi.unicast),
        multicast=bool(vsi.multicast),
        rx={queue: context for queue, context in queues.rx.items() if context.entries},
        tx={queue: context for queue, context in queues.tx.items() if context.entries},
        rx_causes=causes[0],
        tx_causes=causes[1],
    )


def by_software(config: VfConfig, calls: Iterable[Call]) -> Programmed:
    """What the software PF has asked of the data plane."""
    rx: dict[int, RxQueue] = {}
    tx: dict[int, TxQueue] = {}
    running: set[tuple[int, bool]] = set()
    causes: dict[bool, dict[int, Cause]] = {True: {}, False: {}}
    for name, _, *arguments in calls:
        match name, arguments:
            case "reset", _:
                rx, tx, running, causes = {}, {}, set(), {True: {}, False: {}}
            case "configure_rx", [queue, ring, entries, size, longest, _, keep_crc]:
                rx[queue] = RxQueue(ring, entries, size, longest, keep_crc)
            case "configure_tx", [queue, ring, entries]:
                tx[queue] = TxQueue(ring, entries)
            case "enable", [queue, is_rx]:
                running.add((queue, is_rx))
            case "disable", [queue, is_rx]:
                running.discard((queue, is_rx))
            case "map", [vector, rx_map, tx_map, rx_itr, tx_itr]:
                _map(causes[True], vector, rx_map, rx_itr)
                _map(causes[False], vector, tx_map, tx_itr)
    pruned = config.vlan_pruning and config.vlans
    return Programmed(
        macs=frozenset(config.macs),
        vlans=frozenset(vid for _, vid in config.vlans) if config.macs else frozenset(),
        every_vlan=not config.macs or not (config.port_vlan or pruned),
        port_vlan=config.port_vlan,
        strip=config.strip != "none" and not config.port_vlan,
        spoof_check=config.spoof_check,
        unicast=config.promisc_unicast,
        multicast=config.promisc_multicast,
        rx={queue: rx[queue] for queue in sorted(rx) if (queue, True) in running},
        tx={queue: tx[queue] for queue in sorted(tx) if (queue, False) in running},
        rx_causes=causes[True],
        tx_causes=causes[False],
    )


def _map(causes: dict[int, Cause], vector: int, queues: int, itr: int) -> None:
    """A vector's queues are those of its last map, and a queue is on one vector."""
    for queue in [queue for queue, (number, _) in causes.items() if number == vector]:
        del causes[queue]
    causes.update({queue: (vector, itr) for queue in range(16) if queues >> queue & 1})
