# SPDX-License-Identifier: BSD-3-Clause
"""An E810 whose PF's driver is Linux's ice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from iavfio.linuxpf.process import What
from iavfio.softvf.linux_pf.card import Request, Service
from iavfio.softvf.linux_pf.ice import flows
from iavfio.softvf.linux_pf.ice.director import Director, name_of
from iavfio.softvf.linux_pf.ice.flows import Hashing, hashing
from iavfio.softvf.linux_pf.ice.queues import Queues, decode
from iavfio.softvf.linux_pf.ice.switch import Switch, Vsi
from iavfio.softvf.personality import Personality
from iavfio.softvf.vf_config import FlowRule, VfConfig

PLAIN_TPID = 0x8100
NO_VLAN = frozenset({(PLAIN_TPID, 0)})  # a filter that no tagged frame needs
XOR = "RSS by XOR: the data plane hashes by Toeplitz"


class E810:
    """Implements card.Card."""

    link_speeds: Mapping[int, int] = MappingProxyType(
        {
            100: 1 << 1,
            1000: 1 << 2,
            2500: 1 << 3,
            5000: 1 << 4,
            10000: 1 << 5,
            20000: 1 << 6,
            25000: 1 << 7,
            40000: 1 << 8,
            50000: 1 << 9,
            100000: 1 << 10,
        }
    )

    limits_rate = True

    def __init__(self, personality: Personality) -> None:
        self._personality, self._switch, self._director = personality, Switch(), Director()

    def commands(self, these: Iterable[tuple[int, bytes]]) -> set[int]:
        """The VFs whose VSIs the commands were about."""
        about: set[int] = set()
        for opcode, data in these:
            about |= self._director.command(opcode, data)
            about |= self._switch.commands([(opcode, data)])
        return about

    def reached(self, vf: int, opcode: int, payload: bytes) -> set[int]:
        """ice looks at each queue that a VF names."""
        return set()

    def flow_name(self, flow: FlowRule) -> str:
        """Its headers and fields."""
        return name_of(flow)

    def service(self, vf: int, request: Request) -> Service | None:
        """From the registers and the switch."""
        answer = request(What.QUEUES, vf)
        if not answer.queues:
            return None
        queues, profiles = decode(answer.queues), flows.decode(answer.state)
        vsi = self._switch.vsis.get(queues.vsi)
        hashed = hashing(profiles.rss, bool(vsi and vsi.symmetric))
        steered, not_steered = self._director.flows(vf, profiles.director)
        sends = self._switch.tx
        return Service(
            pairs=queues.pairs,
            link_up=queues.link_up,
            spoof_check=queues.spoof_check,
            disabled=queues.disabled or vsi is None,
            version=queues.version,
            mac=queues.mac,
            rx=queues.rx,
            tx={
                queue: sends[number]
                for queue, number in enumerate(queues.tx_numbers)
                if number in sends
            },
            vectors=queues.vectors,
            traffic=replace(self._traffic(vsi or Vsi(), queues, hashed), flows=steered),
            left_out=(*hashed.left_out, *not_steered, *([XOR] if vsi and vsi.xor else [])),
        )

    def _traffic(self, vsi: Vsi, queues: Queues, hashed: Hashing) -> VfConfig:
        filters, double_vlan = self._switch.filters(queues.vsi), self._personality.double_vlan
        port_vlan = vsi.port_vlan
        tpid = vsi.outer_tpid if double_vlan and vsi.outer_tpid else PLAIN_TPID
        most = self._personality.max_mtu or self._personality.max_frame
        return VfConfig(
            macs=tuple(sorted(filters.macs)),
            vlans=filters.vlans | (NO_VLAN if vsi.prunes_rx and not port_vlan else frozenset()),
            vlan_pruning=vsi.prunes_rx,
            vlan_checking=vsi.prunes_tx,
            promisc_unicast=filters.unicast,
            default_vsi=filters.default,
            promisc_multicast=filters.multicast,
            trusted=queues.trusted,
            spoof_check=vsi.check_mac,
            port_vlan=port_vlan,
            strip=vsi.strip(double_vlan),
            strip_tpids=(tpid,),
            insert_tpid=tpid,
            rss_key=vsi.key,
            rss_lut=vsi.lut,
            hashcfg=hashed.classes,
            symmetric=hashed.symmetric,
            rules=hashed.rules,
            comms=self._personality.ddp == "comms",
            num_queues=max(queues.pairs, 1),
            max_frame=most - (4 if port_vlan else 0),
            rate=round(queues.rate / 1000),
        )
