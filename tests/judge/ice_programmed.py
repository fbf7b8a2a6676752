# SPDX-License-Identifier: BSD-3-Clause
"""What a PF has set up for VF 0's traffic: not what it remembers, but what serves frames.

ice's are its commands on the firmware admin queue and the card's registers, decoded as
iavfio/softvf/linux_pf/ice does. The software PF's are its calls of the data plane.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from iavfio.softvf.linux_pf.ice.flows import Hashing
from iavfio.softvf.linux_pf.ice.queues import Cause as IceCause
from iavfio.softvf.linux_pf.ice.queues import Queues
from iavfio.softvf.linux_pf.ice.switch import Switch, Vsi
from iavfio.softvf.linux_pf.queues import RxQueue, TxQueue
from iavfio.softvf.vf_config import HashRule, VfConfig

# Bits of SET_RSS_HASHCFG that stand for a class each: others of IPv4, TCP, UDP, SCTP; then IPv6.
CLASSES = (35, 33, 31, 34, 45, 43, 41, 44)
EXACT = 100  # a rate is right within one part of so many
Cause = tuple[int, int]  # vector and ITR of one direction of a queue
Call = tuple[Any, ...]  # a row of RecordingPlane.calls: name, VF, arguments


@dataclass(frozen=True)
class Programmed:
    """Filters and flags of the switch, RSS, the scheduler; queues that run; vectors of all."""

    macs: frozenset[bytes]
    broadcast: bool
    vlans: frozenset[tuple[int, int]]
    every_vlan: bool  # frames of VLANs without a filter come in, too
    sends_every_vlan: bool
    port_vlan: int
    strip: str
    outer_tpid: int  # of tags that are stripped and inserted; 0 in single VLAN mode
    spoof_check: bool
    unicast: bool
    default_vsi: bool
    multicast: bool
    key: bytes | None  # None is the PF's own
    lut: bytes
    classes: frozenset[int]
    symmetric: bool
    rules: tuple[HashRule, ...]  # for RSS, the one that decides first
    rate: int  # kbit/s
    rx: dict[int, RxQueue]
    tx: dict[int, TxQueue]
    rx_causes: dict[int, Cause]
    tx_causes: dict[int, Cause]
    mute: frozenset[int]  # queues that receive and have a vector, whose cause is off


def by_linux(
    switch: Switch, queues: Queues, hashed: Hashing, own_key: bytes, double_vlan: bool
) -> Programmed:
    """What ice has programmed into the card; `own_key` is the PF's.

    In single VLAN mode the card knows no outer tags.
    """
    vsi, filters = switch.vsis.get(queues.vsi) or Vsi(), switch.filters(queues.vsi)
    port_vlan = vsi.port_vlan
    rx = {
        queue: context
        for queue, context in queues.rx.items()
        if context.entries and context.buffer_size
    }
    rx_causes, tx_causes = _causes(queues.rx_causes), _causes(queues.tx_causes)
    return Programmed(
        macs=filters.macs,
        broadcast=filters.broadcast,
        vlans=filters.vlans,
        every_vlan=not vsi.prunes_rx,
        sends_every_vlan=not (vsi.prunes_tx or port_vlan),
        port_vlan=port_vlan,
        strip=vsi.strip(double_vlan),
        outer_tpid=vsi.outer_tpid if double_vlan and not port_vlan else 0,
        spoof_check=vsi.check_mac,
        unicast=filters.unicast,
        default_vsi=filters.default,
        multicast=filters.multicast,
        key=None if vsi.key == own_key else vsi.key,
        lut=vsi.lut,
        classes=frozenset(bit for bit in CLASSES if hashed.classes >> bit & 1),
        symmetric=hashed.symmetric,
        rules=hashed.rules,
        rate=queues.rate,
        rx=rx,
        tx={
            queue: switch.tx[number]
            for queue, number in enumerate(queues.tx_numbers)
            if number in switch.tx and switch.tx[number].entries
        },
        rx_causes=rx_causes,
        tx_causes=tx_causes,
        mute=frozenset(
            queue for queue in rx if queue in rx_causes and not queues.rx_causes[queue].enabled
        ),
    )


def _causes(all_of_them: tuple[IceCause, ...]) -> dict[int, Cause]:
    """Those of queues that are on a vector: number 0 is the mailbox's."""
    return {
        queue: (cause.vector, cause.itr) for queue, cause in enumerate(all_of_them) if cause.vector
    }


def by_software(
    config: VfConfig, calls: Iterable[Call], own_key: bytes, double_vlan: bool
) -> Programmed:
    """What the software PF has asked of the data plane; `own_key` is its own."""
    rx: dict[int, RxQueue] = {}
    tx: dict[int, TxQueue] = {}
    running: set[tuple[int, bool]] = set()
    causes: dict[bool, dict[int, Cause]] = {True: {}, False: {}}
    for name, _, *arguments in calls:
        match name, arguments:
            case "reset", _:
                rx, tx, running, causes = {}, {}, set(), {True: {}, False: {}}
            case "configure_rx", [queue, ring, entries, size, longest, form, keep_crc]:
                rx[queue] = RxQueue(ring, entries, size, longest, keep_crc, form)
            case "configure_tx", [queue, ring, entries]:
                tx[queue] = TxQueue(ring, entries)
            case "enable", [queue, is_rx]:
                running.add((queue, is_rx))
            case "disable", [queue, is_rx]:
                running.discard((queue, is_rx))
            case "map", [vector, rx_map, tx_map, rx_itr, tx_itr]:
                _map(causes[True], vector, rx_map, rx_itr)
                _map(causes[False], vector, tx_map, tx_itr)
    checked = config.spoof_check and config.vlan_checking
    return Programmed(
        macs=frozenset(config.macs),
        broadcast=True,
        vlans=frozenset((tpid, vid) for tpid, vid in config.vlans if vid),
        every_vlan=not (config.port_vlan or (config.vlan_pruning and config.vlans)),
        sends_every_vlan=not (config.port_vlan or (checked and config.vlans)),
        port_vlan=config.port_vlan,
        strip=config.strip,
        outer_tpid=config.insert_tpid if double_vlan and not config.port_vlan else 0,
        spoof_check=config.spoof_check,
        unicast=config.promisc_unicast,
        default_vsi=config.default_vsi,
        multicast=config.promisc_multicast,
        key=None if config.rss_key == own_key else config.rss_key,
        lut=config.rss_lut,
        classes=frozenset(bit for bit in CLASSES if config.hashcfg >> bit & 1),
        symmetric=config.symmetric,
        rules=config.rules,
        rate=config.rate * 1000,
        rx={queue: rx[queue] for queue in sorted(rx) if (queue, True) in running},
        tx={queue: tx[queue] for queue in sorted(tx) if (queue, False) in running},
        rx_causes=causes[True],
        tx_causes=causes[False],
        mute=frozenset(),
    )


def _map(causes: dict[int, Cause], vector: int, queues: int, itr: int) -> None:
    """A vector's queues are those of its last map, and a queue is on one vector."""
    for queue in [queue for queue, (number, _) in causes.items() if number == vector]:
        del causes[queue]
    causes.update({queue: (vector, itr) for queue in range(16) if queues >> queue & 1})


def unlike(real: Programmed, soft: Programmed) -> dict[str, tuple[Any, Any]]:
    """The fields in which two differ, by name, with both values."""
    both = {name: (getattr(real, name), getattr(soft, name)) for name in vars(real)}
    found = {name: pair for name, pair in both.items() if pair[0] != pair[1]}
    if abs(real.rate - soft.rate) * EXACT <= soft.rate:
        found.pop("rate", None)  # the card has no more exact one
    return found
