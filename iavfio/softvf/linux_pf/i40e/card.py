# SPDX-License-Identifier: BSD-3-Clause
"""An X710 whose PF's driver is Linux's i40e."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from iavfio.linuxpf.process import What
from iavfio.softvf._device import lib
from iavfio.softvf.linux_pf.card import Request, Service
from iavfio.softvf.linux_pf.i40e.queues import Queues, decode
from iavfio.softvf.linux_pf.i40e.switch import Switch, Vsi
from iavfio.softvf.personality import Personality
from iavfio.softvf.pf import rss
from iavfio.softvf.vf_config import FlowRule, VfConfig

PLAIN_TPID = 0x8100
SWITCHES = frozenset({lib.VC_OP_ENABLE_QUEUES, lib.VC_OP_DISABLE_QUEUES})
SELECT = struct.Struct("<4xII")  # their masks of Rx and Tx queues, after the VSI
CHANNELS = (
    "the channels of a VF (ADQ): all of its frames are those of the first one, whatever its cloud "
    "filters say, RSS spreads them over the queues of all, and no channel has a rate"
)
# The card's registers hold MAC, ten numbers that `Queues` has too, RSS key, table and classes.
HELD = struct.Struct("<6s3H4H52s64sQ")


class X710:
    """Implements card.Card."""

    link_speeds: Mapping[int, int] = MappingProxyType(
        {1000: 0x04, 2500: 0x80, 10000: 0x08, 20000: 0x20, 25000: 0x40, 40000: 0x10}
    )

    limits_rate = False

    def __init__(self, personality: Personality) -> None:
        self._personality, self._switch = personality, Switch()
        self._queues: dict[int, tuple[int, ...]] = {}  # each VF's, by the card's numbers

    def commands(self, these: Iterable[tuple[int, bytes]]) -> set[int]:
        """The VFs whose VSIs the commands were about."""
        return self._switch.commands(these)

    def reached(self, vf: int, opcode: int, payload: bytes) -> set[int]:
        """i40e switches each queue that a mask names, also one that is another VF's."""
        if opcode not in SWITCHES or len(payload) < SELECT.size:
            return set()
        rx, tx = SELECT.unpack_from(payload)
        mine = self._queues.get(vf, ())
        named = {mine[0] + bit for bit in range(32) if (rx | tx) >> bit & 1} if mine else set()
        named.difference_update(mine)
        return {other for other, queues in self._queues.items() if not named.isdisjoint(queues)}

    def flow_name(self, flow: FlowRule) -> str:
        """i40e grants a VF no flow director."""
        return str(flow)

    def service(self, vf: int, request: Request) -> Service | None:
        """From the state of the PF's driver, the registers and the switch."""
        held, raw = request(What.STATE, vf).state, request(What.QUEUES, vf).queues
        if not held or not raw:
            return None
        mac, *_, key, table, classes = HELD.unpack_from(held)
        queues, vsi = decode(raw), self._switch.vsi(vf)
        self._queues[vf] = queues.of_card
        return Service(
            pairs=queues.pairs,
            link_up=queues.link_up if queues.link_forced else queues.wire_up,
            spoof_check=queues.spoof_check,
            disabled=queues.disabled or vsi is None,
            version=queues.version,
            mac=mac,
            rx=queues.rx,
            tx=queues.tx,
            vectors=queues.vectors,
            traffic=self._traffic(vsi or Vsi(), queues, mac, (key, table, classes)),
            left_out=(CHANNELS,) if self._switch.channels(vf) else (),
            page="docs/spec/pf-dialects.md 5",
        )

    def _traffic(
        self, vsi: Vsi, queues: Queues, mac: bytes, hashing: tuple[bytes, bytes, int]
    ) -> VfConfig:
        port_vlan = vsi.port_vlan
        key, table, classes = hashing
        return VfConfig(
            macs=vsi.macs,
            primary_mac=mac if any(mac) else None,  # i40e has no other than the default
            vlans=frozenset() if port_vlan else frozenset((PLAIN_TPID, v) for v in vsi.vlans),
            vlan_pruning=not vsi.takes_any,
            promisc_unicast=bool(vsi.unicast),
            promisc_multicast=bool(vsi.multicast),
            trusted=queues.trusted,
            spoof_check=vsi.check_mac,
            port_vlan=port_vlan,
            strip="l2tag1" if vsi.strip else "none",
            rss_key=key,
            rss_lut=table,
            hashcfg=rss.programmed(self._personality, classes),
            num_queues=max(queues.pairs, 1),
            max_frame=self._personality.max_frame - (4 if port_vlan else 0),
        )
