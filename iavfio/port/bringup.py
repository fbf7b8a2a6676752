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
from iavfio.port.desired import Wish, apply
from iavfio.port.negotiation import Session
from iavfio.port.queue_set import QueueSet
from iavfio.port.status import Tell
from iavfio.port.vectors import VectorPlan, dyn_ctl
from iavfio.pyvfio import AddressSpace, Bar
from iavfio.stats import PortSegment
from iavfio.virtchnl.messages.queues import (
    CONFIG_IRQ_MAP,
    CONFIG_VSI_QUEUES,
    QueuePairConfig,
    VectorMap,
)


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
    """One bring-up of `queues`, with all that `wish` says in force.

    `sample` asks the PF for its counters and publishes them; what is not as wished is noted.
    """

    hardware: Hardware
    session: Session
    queues: QueueSet
    wish: Wish
    tell: Tell
    sample: Callable[[], None]

    def run(self) -> BroughtUp:
        """All of start: raises at the first step that fails, with nothing enabled.

        Raises IavfioError without buffers, PfRefused, MailboxError, ResetUnderWay, DeviceLost.
        """
        session, held = self.session, self.session.held
        plan = VectorPlan.make(
            len(self.queues),
            min(session.resources.max_vectors, len(self.hardware.vectors)),
            session.has(lib.VC_CAP_WB_ON_ITR),
        )
        configs = []
        for pair in self.queues:
            first = self.queues.pairs[plan.first(pair.index)]  # of the pairs of its vector
            companion = None if first is pair else first
            rings = pair.create(self._device_side(pair.index, plan), companion)
            pair.arm(self.queues.buffers)
            configs.append(self._config(pair, rings))
        session.client.ask(CONFIG_VSI_QUEUES(configs))
        self._map_vectors(plan)
        mac = apply(self.wish, session, self.tell)
        if not held.sampled:
            # The counters of a PF begin at the first request after a reset: before any packet.
            held.sampled = True
            self.sample()
        session.enable_queues(self.queues.bitmap)
        for pair in self.queues:
            pair.start()
        self.hardware.segment.set_pairs(len(self.queues))
        return BroughtUp(plan, mac)

    def _map_vectors(self, plan: VectorPlan) -> None:
        """CONFIG_IRQ_MAP for every vector in use, and for those that served queues before."""
        held = self.session.held
        wanted = dict.fromkeys(held.vectors, 0) | {v.number: v.bitmap for v in plan.vectors}
        held.vectors |= wanted
        maps = [VectorMap(v, queues, queues, 0, 0) for v, queues in sorted(wanted.items())]
        self.session.client.ask(CONFIG_IRQ_MAP(maps))
        held.vectors = {vector: queues for vector, queues in wanted.items() if queues}

    @property
    def _rxdid(self) -> int:
        """The receive descriptors' format; 0 is the legacy one."""
        return 0 if self.wish.settings.descriptors == "legacy" else self.session.rxdid

    def _device_side(self, queue: int, plan: VectorPlan) -> PairDevice:
        hardware, vector = self.hardware, plan.of(queue)
        return PairDevice(
            space=hardware.space,
            bar=hardware.bar,
            rq=hardware.segment.rq_address(queue),
            sq=hardware.segment.sq_address(queue),
            rxdid=self._rxdid,
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
            max_frame=self.wish.settings.frame + FCS,
            rxdid=self.session.rxdid_asked(self._rxdid),
        )
