# SPDX-License-Identifier: BSD-3-Clause
"""Linux's driver as the PF of the software VF: contract.PfDriver and control.Administered.

Each request of a VF or of the administrator is one request to the driver's process. It answers with
what it did, in order: commands for the card, messages to VFs, resets. Then it is asked what it
wrote for the VFs that this concerned, the data plane is set accordingly, and only then a VF hears
of it, as on a card, where a queue has stopped when the answer that says so arrives.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from iavfio.linuxpf.cache import LabError
from iavfio.linuxpf.process import Answer, Frame, JudgeProcess, Kind, What
from iavfio.logs import on_one_line
from iavfio.softvf._device import lib
from iavfio.softvf.containment import LOG
from iavfio.softvf.contract import Scheduler, Timer, VfHardware
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.linux_pf import administrator
from iavfio.softvf.linux_pf.card import Card, Service
from iavfio.softvf.linux_pf.queues import RxQueue, TxQueue, Vector
from iavfio.softvf.linux_pf.resets import Resets
from iavfio.softvf.personality import Personality, Tunnel
from iavfio.softvf.pf.table import name_of
from iavfio.softvf.vf_config import FlowRule, VfConfig

MOST_MACS = 64  # of one VF that the data plane's switch has room for
CAPS = slice(8, 12)  # of an answer to GET_VF_RESOURCES (docs/spec/virtchnl.md 4)


class LinuxVf:
    """One VF: what the PF's driver holds for it, and what the data plane was told of that."""

    def __init__(self, index: int, hardware: VfHardware) -> None:
        self.index, self.hardware = index, hardware
        self.ready = False  # VFGEN_RSTAT says so
        self.resets = 0
        self.stopped_by_mdd = False
        self.link_mode = "auto"
        self.caps = 0  # granted: the driver keeps others, or none
        self.stalled: set[int] = set()  # send queues, by a fault
        self.spoil = ""  # by a fault
        self.waiting: deque[Frame] = deque()  # frames that come after a reset that runs
        self.in_reset = False  # or announced
        self.begun = False  # the hardware half of that reset
        self.reset_timer: Timer | None = None
        self.latency_ms: float | None = None  # of that reset, where it was asked for
        self.service: Service | None = None
        self.running_rx: dict[int, RxQueue] = {}
        self.running_tx: dict[int, TxQueue] = {}
        self.vectors: tuple[Vector, ...] = ()
        self.wanted_flows: tuple[FlowRule, ...] = ()  # of the last time that not all were taken ...
        self.taken_flows: tuple[FlowRule, ...] = ()  # ... and those that were
        self.addresses = 0  # of the last time, as long as they are too many

    @property
    def up(self) -> bool:
        """The link as the VF is told."""
        return self.service is not None and self.service.link_up


class LinuxPf:
    """One PF whose driver is Linux's."""

    def __init__(
        self,
        personality: Personality,
        hardware: Sequence[VfHardware],
        plane: DataPlane,
        scheduler: Scheduler,
        process: JudgeProcess,
        card: Card,
        name: str,
    ) -> None:
        self.personality, self.plane, self.scheduler = personality, plane, scheduler
        self._process, self.dead = process, False
        self.card, self.name = card, name
        self.wire_up, self.link_speed = True, personality.link_speed
        self.resets = Resets(self)
        self.tunnels: dict[int, Tunnel] = {}  # by UDP port
        self.vfs = [LinuxVf(index, each) for index, each in enumerate(hardware)]
        self.card.commands(process.start.commands)
        for vf in self.vfs:
            self._look(vf)
            self.set_rstat(vf, lib.RSTAT_VFACTIVE)
            if personality.trusted:
                self.ask(What.TRUST, vf.index, 1)
            if not personality.spoof_check:
                self.ask(What.SPOOFCHK, vf.index, 0)

    # ---- contract.PfDriver

    def message(self, vf: int, opcode: int, payload: bytes) -> None:
        """Hands a message to the driver; what it answers is on its way when this returns.

        One that comes in a reset is lost: the driver's half has been done, and what it would do
        for the VF after that would outlive the card's half.
        """
        each = self.vfs[vf]
        if each.in_reset:
            if each.begun:
                text = f"{name_of(opcode)} while the VF is in reset"
                each.hardware.violation("docs/spec/virtchnl.md 8", text)
            return
        if opcode == lib.VC_OP_GET_STATS:
            counters = struct.pack("<12Q", *self.plane.stats(vf))
            self._request(What.COUNT, vf, payload=counters)
        self.ask(What.MESSAGE, vf, opcode, payload, self.card.reached(vf, opcode, payload))

    def queue_shutdown(self, vf: int) -> None:
        """The driver does not hear of it."""

    def flr(self, vf: int) -> None:
        """The hardware half was done: the driver does its own."""
        self.resets.flr(self.vfs[vf])

    def client_gone(self, vf: int) -> None:
        """The driver does not hear of it, but of the FLR that follows."""

    def mdd(self, vf: int, text: str) -> None:
        """The card stopped a queue: the VF stays without service until it is reset.

        Linux would ask registers which VF it was, count it, and leave it so as well.
        """
        self.vfs[vf].stopped_by_mdd = True
        self._publish(self.vfs[vf])

    # ---- control.Administered

    def control(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Carries out one command of `administrator`; ConfigError for what cannot be."""
        return administrator.control(self, request)

    def snapshot(self, vf: int) -> dict[str, Any]:
        """A VF's state as JSON-able values, under the names of the software PF's snapshot."""
        return administrator.snapshot(self, self.vfs[vf])

    def set_wire(self, up: bool, speed: int) -> None:
        """The wire's link changes: the driver tells the VFs."""
        self.wire_up, self.link_speed = up, speed
        self.plane.set_link(up)
        self.ask(What.WIRE, 0, self.card.link_speeds[speed] << 8 | int(up))
        for vf in self.vfs:
            self._look(vf)

    # ---- requests and what they bring about

    def ask(
        self,
        what: What,
        vf: int = 0,
        opcode: int = 0,
        payload: bytes = b"",
        reached: Set[int] = frozenset(),
    ) -> int:
        """Makes a request and does all that it brings about; returns the driver's return code.

        `reached` are VFs that it may concern although the answer does not say so.
        """
        answer = self._request(what, vf, opcode, payload)
        concerned = {frame.vf for frame in answer.frames if frame.kind != Kind.COMMAND}
        concerned |= {vf, *reached} | self.card.commands(answer.commands)
        for number in sorted(concerned):
            if number < len(self.vfs):
                self._look(self.vfs[number])
        self.resets.play(answer.frames)
        return answer.result

    def _request(self, what: What, vf: int = 0, opcode: int = 0, payload: bytes = b"") -> Answer:
        """Asks the process; one that has died leaves VFs without a PF, as an unloaded driver."""
        if self.dead:
            return Answer()
        try:
            return self._process.request(what, vf, opcode, payload)
        except LabError as error:
            self._lose(error)
            return Answer()

    @property
    def end_fd(self) -> int:
        """A descriptor that is readable when the driver's process has ended: then call `ended`."""
        return self._process.end_fd

    def ended(self) -> None:
        """The driver's process has ended, perhaps while nobody spoke to it."""
        if not self.dead:
            self._lose(self._process.died())

    def _lose(self, error: LabError) -> None:
        self.dead = True
        text = f"the PF is gone: {on_one_line(str(error))}"
        LOG.error("%s: %s", self.name, text)
        for each in self.vfs:
            each.hardware.violation("docs/spec/virtchnl.md 8", text, "note")
            each.hardware.set_gone(True)

    # ---- for its resets

    def answered(self, vf: LinuxVf, frame: Frame) -> None:
        """Hands a VF a message of the driver's."""
        if frame.opcode == lib.VC_OP_GET_VF_RESOURCES and not frame.status:
            vf.caps = int.from_bytes(frame.data[CAPS], "little")
        vf.hardware.send_to_vf(frame.opcode, frame.status, frame.data)

    def forget(self, vf: LinuxVf) -> None:
        """The card has stopped everything of the VF's."""
        vf.resets, vf.caps = vf.resets + 1, 0
        vf.ready = vf.stopped_by_mdd = False
        vf.stalled.clear()
        vf.running_rx.clear()
        vf.running_tx.clear()
        vf.vectors = ()
        self._look(vf)

    def set_rstat(self, vf: LinuxVf, state: int) -> None:
        """The driver writes VFGEN_RSTAT."""
        vf.ready = state == lib.RSTAT_VFACTIVE
        if vf.ready:
            self._publish(vf)
        vf.hardware.set_rstat(state)

    # ---- from what the driver wrote to the data plane

    def _look(self, vf: LinuxVf) -> None:
        """Reads what the driver holds for a VF and sets the data plane accordingly."""
        service = self.card.service(vf.index, self._request)
        if service is None:
            return
        known = vf.service.left_out if vf.service else ()
        vf.service = service
        for text in service.left_out:
            if text not in known:
                vf.hardware.violation(service.page, text, "note")
        self._set_queues(vf, service)
        self._set_vectors(vf, service)
        self._publish(vf)

    def _set_queues(self, vf: LinuxVf, wanted: Service) -> None:
        if not vf.ready:
            return
        for queue, have in [*vf.running_rx.items()]:
            if wanted.rx.get(queue) != have:
                self.plane.disable_queue(vf.index, queue, True)
                del vf.running_rx[queue]
        for queue, had in [*vf.running_tx.items()]:
            if wanted.tx.get(queue) != had:
                self.plane.disable_queue(vf.index, queue, False)
                del vf.running_tx[queue]
        for queue, rx in wanted.rx.items():
            if queue not in vf.running_rx and self._start(vf, queue, rx):
                vf.running_rx[queue] = rx
        for queue, tx in wanted.tx.items():
            if queue not in vf.running_tx and self._start(vf, queue, tx):
                vf.running_tx[queue] = tx

    def _start(self, vf: LinuxVf, queue: int, context: RxQueue | TxQueue) -> bool:
        rx = isinstance(context, RxQueue)
        if not context.entries:
            text = f"{'Rx' if rx else 'Tx'} queue {queue} was never configured: it does not start"
            vf.hardware.violation("docs/spec/virtchnl.md 9", f"{text}, the PF reports success")
            return False
        try:
            if isinstance(context, RxQueue):
                self.plane.configure_rx(
                    vf.index,
                    queue,
                    context.ring,
                    context.entries,
                    context.buffer_size,
                    context.max_frame,
                    context.rxdid,
                    context.keep_crc,
                )
            else:
                self.plane.configure_tx(vf.index, queue, context.ring, context.entries)
            self.plane.enable_queue(vf.index, queue, rx)
        except OSError as error:
            vf.hardware.violation(
                "docs/spec/descriptors.md 10",
                f"{'Rx' if rx else 'Tx'} queue {queue} does not start: {error.strerror}",
            )
            return False
        return True

    def _set_vectors(self, vf: LinuxVf, wanted: Service) -> None:
        if not vf.ready or wanted.vectors == vf.vectors:
            return
        vf.vectors = wanted.vectors
        for number, vector in enumerate(wanted.vectors):
            self.plane.map_vector(
                vf.index,
                number,
                vector.rx_map,
                vector.tx_map,
                vector.rx_itr,
                vector.tx_itr,
            )

    def _publish(self, vf: LinuxVf) -> None:
        service = vf.service
        if service is None:
            return
        macs = service.traffic.macs
        if len(macs) > max(MOST_MACS, vf.addresses):
            text = f"{len(macs)} addresses: the switch that is played has room for {MOST_MACS}"
            vf.hardware.violation("docs/spec/virtchnl.md 9", text, "note")
        vf.addresses = len(macs)
        config = replace(
            service.traffic,
            macs=macs[:MOST_MACS],
            active=vf.ready and not service.disabled,
            link_up=service.link_up,
            mdd_stopped=vf.stopped_by_mdd,
            delay_us=self.personality.delay_us,
        )
        self.plane.publish(vf.index, replace(config, flows=self._flows(vf, config)))

    def _flows(self, vf: LinuxVf, config: VfConfig) -> tuple[FlowRule, ...]:
        """The flows that the data plane takes: one that it cannot take costs no other one."""
        if config.flows == vf.wanted_flows:
            return vf.taken_flows
        known, taken = set(vf.wanted_flows) - set(vf.taken_flows), config.flows
        try:
            self.plane.check_flows(config)
        except OSError:
            taken = ()
            for flow in config.flows:
                try:
                    self.plane.check_flows(replace(config, flows=(*taken, flow)))
                except OSError as error:
                    if flow not in known:
                        text = f"the data plane does not take the flow {self.card.flow_name(flow)}"
                        text = f"{text}: {error.strerror}"
                        vf.hardware.violation("docs/spec/pf-dialects.md 9", text, "note")
                else:
                    taken = (*taken, flow)
        vf.wanted_flows, vf.taken_flows = config.flows, taken
        return taken
