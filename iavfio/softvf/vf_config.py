# SPDX-License-Identifier: BSD-3-Clause
"""What a PF decides for a VF's traffic: filters, tags, RSS and flows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from iavfio.softvf._device import lib


@dataclass(frozen=True)
class HashRule:
    """A rule for RSS: headers (SOFTVF_HAS_*) that a frame must have, fields (SOFTVF_OF_*) hashed.

    A symmetric one hashes both directions alike while the VF's function is symmetric.
    """

    headers: int
    fields: int
    symmetric: bool = False


class FlowAction(Enum):
    """What becomes of the frames of a flow."""

    QUEUE = lib.SOFTVF_FLOW_QUEUE
    QUEUES = lib.SOFTVF_FLOW_QUEUES  # one of a region, by the RSS hash
    DROP = lib.SOFTVF_FLOW_DROP
    PASS = lib.SOFTVF_FLOW_PASS  # RSS decides: only the mark is put


@dataclass(frozen=True)
class FlowRule:
    """A rule of the flow director (docs/spec/descriptors.md 14).

    It fits frames with these headers (SOFTVF_HAS_*) of which each of the fields (SOFTVF_OF_*) is
    as in `frame`: a template, as the VF receives it, whose IP lengths do not count. `queues`: a
    power of two. `mark`: what the receive descriptor shows, None for nothing.
    """

    headers: int
    fields: int
    frame: bytes
    action: FlowAction
    queue: int = 0
    queues: int = 1
    mark: int | None = None


@dataclass(frozen=True)
class VfConfig:
    """What the PF decided for one VF's traffic; published whole."""

    macs: tuple[bytes, ...] = ()
    primary_mac: bytes | None = None
    vlans: frozenset[tuple[int, int]] = frozenset()  # filters: type (TPID) and number
    vlan_pruning: bool = True  # they hold back what is received
    vlan_checking: bool = True  # and what is sent, while the spoof check is on
    promisc_unicast: bool = False  # gets all unicast frames
    default_vsi: bool = False  # gets what comes from the wire and matches no filter
    promisc_multicast: bool = False
    trusted: bool = False
    spoof_check: bool = True
    port_vlan: int = 0
    strip: str = "none"
    strip_tpids: tuple[int, ...] = (0x8100,)
    insert_tpid: int = 0x8100
    active: bool = False
    link_up: bool = True
    mdd_stopped: bool = False
    rss_key: bytes = bytes(52)
    rss_lut: bytes = b""
    hashcfg: int = 0
    symmetric: bool = False
    # hashcfg tells unicast, multicast and SYN apart (docs/spec/descriptors.md 12.1)
    x722_classes: bool = False
    rules: tuple[HashRule, ...] = ()  # the first that fits a frame decides
    flows: tuple[FlowRule, ...] = ()  # as well; at most SOFTVF_FLOWS
    comms: bool = False  # the parser knows the protocols of the comms package
    num_queues: int = 1
    max_frame: int = 9728
    rate: int = 0  # Mbit/s that it may send, of frames with FCS; 0: as fast as it can
    delay_us: int = 0  # that its frames take to the switch, besides what they take anyway
