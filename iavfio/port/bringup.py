# SPDX-License-Identifier: BSD-3-Clause
"""From settings to running queues: rings, vectors, and the requests to the PF, in order.

The same steps serve the first start and the rebuild after a reset (docs/spec/virtchnl.md 7,
docs/spec/descriptors.md 10).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from iavfio._driver import lib
from iavfio.datapath.pair import FCS, PairDevice, QueuePair, Rings
from iavfio.datapath.pool import ROOM
from iavfio.errors import ConfigError, ItemRefused, PfRefused
from iavfio.port.negotiation import Session
from iavfio.port.queue_set import QueueSet
from iavfio.port.settings import Settings
from iavfio.port.vectors import VectorPlan, dyn_ctl
from iavfio.pyvfio import AddressSpace, Bar
from iavfio.stats import PortSegment
from iavfio.virtchnl.messages.filters import CONFIG_PROMISCUOUS_MODE
from iavfio.virtchnl.messages.queues import (
    CONFIG_IRQ_MAP,
    CONFIG_VSI_QUEUES,
    QueuePairConfig,
    VectorMap,
)
from iavfio.virtchnl.messages.rss import (
    CONFIG_RSS_HFUNC,
    CONFIG_RSS_KEY,
    CONFIG_RSS_LUT,
    GET_RSS_HASHCFG_CAPS,
    SET_RSS_HASHCFG,
    HashFunction,
)

Note = Callable[[str], None]


@dataclass(frozen=True)
class Hardware:
    """What stays the same over resets: address space, registers, eventfds, counters."""

    space: AddressSpace
    bar: Bar
    vectors: Sequence[int]
    segment: PortSegment


@dataclass(frozen=True)
class BroughtUp:
    """What a bring-up has built: the vectors' plan, and the address that is in force."""

    plan: VectorPlan
    mac: bytes


@dataclass(frozen=True)
class BringUp:
    """One bring-up of `queues` for `settings`; `mac` is the address that is wanted.

    With `lenient` an address that the PF refuses is noted and not raised: after a reset traffic
    goes on with what the PF still allows (docs/spec/reliability.md F26).
    """

    hardware: Hardware
    session: Session
    settings: Settings
    queues: QueueSet
    mac: bytes
    note: Note
    lenient: bool

    def run(self) -> BroughtUp:
        """All of start: raises at the first step that fails, with nothing enabled."""
        session, client = self.session, self.session.client
        plan = VectorPlan.make(
            len(self.queues),
            min(session.resources.max_vectors, len(self.hardware.vectors)),
            session.has(lib.VC_CAP_WB_ON_ITR),
        )
        configs = []
        for pair in self.queues:
            rings = pair.create(self._device_side(pair.index, plan))
            pair.arm(self.queues.buffers)
            configs.append(self._config(pair, rings))
        vectors = [VectorMap(v.number, v.bitmap, v.bitmap, 0, 0) for v in plan.vectors]
        client.ask(CONFIG_VSI_QUEUES(configs))
        client.ask(CONFIG_IRQ_MAP(vectors))
        self._set_rss()
        self._set_vlan_stripping()
        mac = self._set_addresses()
        s = self.settings
        if s.promiscuous or s.all_multicast:
            client.ask(CONFIG_PROMISCUOUS_MODE(s.promiscuous, s.all_multicast))
        session.enable_queues(self.queues.bitmap)
        for pair in self.queues:
            pair.start()
        self.hardware.segment.set_pairs(len(self.queues))
        return BroughtUp(plan, mac)

    def _device_side(self, queue: int, plan: VectorPlan) -> PairDevice:
        hardware, vector = self.hardware, plan.of(queue)
        return PairDevice(
            space=hardware.space,
            bar=hardware.bar,
            rq=hardware.segment.rq_address(queue),
            sq=hardware.segment.sq_address(queue),
            rxdid=self.session.rxdid,
            vlan_in_l2tag2=self.session.vlan_in_l2tag2,
            dyn_ctl=dyn_ctl(vector),
            poll_ctl=plan.poll_ctl,
            sleep_ctl=plan.sleep_ctl,
            rearm=not plan.wb_on_itr,
            event_fd=hardware.vectors[vector],
        )

    def _config(self, pair: QueuePair, rings: Rings) -> QueuePairConfig:
        return QueuePairConfig(
            queue=pair.index,
            tx_ring=rings.tx_entries,
            tx_iova=rings.tx_iova,
            rx_ring=rings.rx_entries,
            rx_iova=rings.rx_iova,
            buffer=ROOM,
            max_frame=self.settings.frame + FCS,
            rxdid=self.session.rxdid,
        )

    def _set_rss(self) -> None:
        """All queues are used by default; a PF may keep hash fields of its own.

        See docs/spec/virtchnl.md 9.
        """
        session, rss = self.session, self.settings.rss
        if not session.has(lib.VC_CAP_RSS_PF):
            if len(self.queues) > 1:
                self.note("the PF does not grant RSS: all packets arrive in queue 0")
            return
        client, resources = session.client, session.resources
        table = rss.table_of(resources.lut_size, len(self.queues))
        client.ask(CONFIG_RSS_KEY(rss.key_of(resources.key_size)))
        client.ask(CONFIG_RSS_LUT(table, resources.queue_pairs))
        if rss.symmetric:
            try:
                client.ask(CONFIG_RSS_HFUNC(HashFunction.SYMMETRIC_TOEPLITZ))
            except PfRefused as refused:
                self.note(f"symmetric RSS is not in force: {refused.what}")
        try:
            known = client.ask(GET_RSS_HASHCFG_CAPS())
            client.ask(SET_RSS_HASHCFG(rss.hashcfg & known))
        except PfRefused as refused:
            self.note(f"the PF keeps its own RSS hash fields: {refused.what}")

    def _set_vlan_stripping(self) -> None:
        """The tag is stripped exactly when the vlan column is wanted; a refusal is not fatal."""
        session, wanted = self.session, "vlan" in self.settings.metadata
        try:
            if session.vlan_caps is not None:
                session.client.vlan_strip(wanted, session.vlan_caps)
            elif session.has(lib.VC_CAP_VLAN):
                session.client.vlan_strip(wanted)
        except (PfRefused, ConfigError) as refused:
            state = "on" if wanted else "off"
            self.note(f"VLAN stripping could not be switched {state}: {refused.what}")

    def _set_addresses(self) -> bytes:
        """The PF's own address works already, and some PFs refuse it when added again."""
        macs = list(self.settings.extra_macs)
        if self.mac != self.session.resources.vsi.mac:
            macs.insert(0, self.mac)
        if not macs:
            return self.mac
        try:
            self.session.client.add_macs(macs, primary=self.mac)
        except ItemRefused:
            if not self.lenient:
                raise
            return self._add_each(macs)
        return self.mac

    def _add_each(self, macs: Sequence[bytes]) -> bytes:
        in_force, given = self.mac, self.session.resources.vsi.mac
        for mac in macs:
            try:
                self.session.client.add_macs([mac], primary=self.mac)
            except ItemRefused as refused:
                self.note(f"an address is not in force since the reset: {refused.what}")
                if mac == self.mac and given is not None:
                    in_force = given
        return in_force
