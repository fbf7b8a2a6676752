# SPDX-License-Identifier: BSD-3-Clause
"""The PF's driver: takes a message of a VF, checks it as ice or i40e would, answers it."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Any

from iavfio.softvf._device import lib
from iavfio.softvf.contract import Scheduler, VfHardware, ViolationKind
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.personality import Personality, Tunnel
from iavfio.softvf.pf import admin, link, rate, rss, vlans
from iavfio.softvf.pf.faults import Answer, Faults
from iavfio.softvf.pf.messages import Handler, Message
from iavfio.softvf.pf.resets import Resets
from iavfio.softvf.pf.snapshot import snapshot
from iavfio.softvf.pf.status import SUCCESS, Refused, Silence, Status, number
from iavfio.softvf.pf.table import MESSAGES, name_of
from iavfio.softvf.pf.vf import SWITCH_MACS, ZERO_MAC, Phase, Vf
from iavfio.softvf.vf_config import VfConfig

FLOOD = 63  # messages at once by which ice calls a VF malicious (docs/spec/virtchnl.md 9)
INBOX_LIMIT = 1024
# What the data plane refuses a queue or a configuration for; any other error of it is a bug.
REFUSED_QUEUES = frozenset({errno.EINVAL, errno.EBUSY, errno.ENOMEM})


# A VF may send these while another message waits: VERSION shows whether the PF is past that one.
OUT_OF_TURN = frozenset({lib.VC_OP_RESET_VF, lib.VC_OP_VERSION})
LINK_CHANGE_FOLLOWS = frozenset({lib.VC_OP_GET_VF_RESOURCES, lib.VC_OP_ENABLE_QUEUES})


class Pf:
    """One PF's driver with its VFs; implements contract.PfDriver."""

    def __init__(
        self,
        personality: Personality,
        hardware: Sequence[VfHardware],
        plane: DataPlane,
        scheduler: Scheduler,
    ) -> None:
        self.personality, self.plane, self.scheduler = personality, plane, scheduler
        self.wire_up = True
        self.link_speed = personality.link_speed
        self.resets = Resets(self)
        self.faults = Faults()
        self.tunnels: dict[int, Tunnel] = {}  # by UDP port
        self.rxdids_told = not personality.rxdids_unknown
        self._pool = max(personality.queue_pool, len(hardware) * personality.num_queue_pairs)
        self._in_hand: dict[int, int] = {}
        self.vfs = [
            Vf(
                index,
                each,
                personality.trusted,
                personality.spoof_check,
                serves_early=not personality.is_ice,
                counts_on=personality.is_ice and not personality.is_ice_6_1,
                delay_us=personality.delay_us,
            )
            for index, each in enumerate(hardware)
        ]
        for vf in self.vfs:
            self.resets.allocate(vf)
            self.publish(vf)
            vf.hardware.set_rstat(lib.RSTAT_VFACTIVE)
        for port, kind in personality.tunnels.items():
            self.plane.add_tunnel(kind, port)
            self.tunnels[port] = kind

    # ---- what the hardware reports

    def message(self, vf: int, opcode: int, payload: bytes) -> None:
        """Answers at once, or `answer_ms` later, in order of arrival."""
        v = self.vfs[vf]
        if v.phase is Phase.GONE or v.flooded or not self._admit(v, opcode):
            return
        if not self.personality.answer_ms:
            self._serve(v, opcode, payload)
            return
        v.inbox.append((opcode, payload))
        if v.inbox_timer is None:
            self._think(v)

    def queue_shutdown(self, vf: int) -> None:
        """Nobody is there to hear answers; the VF's state stays until a reset."""
        self.drop_inbox(self.vfs[vf])

    def flr(self, vf: int) -> None:
        """Finishes in software the reset of a VF by FLR, whose hardware half has been done."""
        self.resets.flr(self.vfs[vf])

    def client_gone(self, vf: int) -> None:
        """Drops what waits in the inbox of a VF whose user went away; `flr` reports its FLR."""
        self.drop_inbox(self.vfs[vf])
        self.vfs[vf].held_back.clear()
        self._in_hand.pop(vf, None)  # of an event that a fault has ended

    def mdd(self, vf: int, text: str) -> None:
        """The data plane stopped a queue of a malicious driver (docs/spec/descriptors.md 15)."""
        v, p = self.vfs[vf], self.personality
        if v.phase not in (Phase.INIT, Phase.ACTIVE):
            return
        if p.mdd_auto_reset:
            self.resets.start(v, f"MDD: {text}", notify=p.notify)
        elif not p.is_ice:
            v.mdd_stopped = True
            self.disable(
                v, "malicious driver event: only an FLR or the administrator's reset helps"
            )

    # ---- what the administrator does

    def control(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Carries out one command of pf.admin; ConfigError for what cannot be."""
        return admin.control(self, request)

    def snapshot(self, vf: int) -> dict[str, Any]:
        """A VF's state as JSON-able values."""
        return snapshot(self, self.vfs[vf])

    # ---- for the handlers

    def queue_pairs_left(self) -> int:
        """Queue pairs of the PF that no VF holds."""
        return self._pool - sum(vf.num_queue_pairs for vf in self.vfs)

    def max_frame(self, vf: Vf) -> int:
        """The port's longest frame, in bytes."""
        most = self.personality.max_mtu or self.personality.max_frame
        return most - (4 if vf.port_vlan else 0)

    def disable(self, vf: Vf, why: str) -> None:
        """The VF gets no service until it is reset."""
        vf.disabled_why = why
        vf.enter(Phase.DISABLED)
        vf.hardware.violation("docs/spec/virtchnl.md 9", f"the PF disabled the VF: {why}", "note")
        self.publish(vf)

    def publish(self, vf: Vf) -> None:
        """Tells the switch what the VF may do now."""
        p = self.personality
        self.plane.publish(
            vf.index,
            VfConfig(
                macs=tuple(vf.macs[:SWITCH_MACS]),
                primary_mac=vf.primary_mac if vf.primary_mac != ZERO_MAC else None,
                vlans=vlans.filters(p, vf),
                vlan_pruning=vlans.prunes(p, vf),
                vlan_checking=vlans.checks(p, vf),
                promisc_unicast=vf.promisc_unicast and (p.true_promisc or not p.is_ice),
                default_vsi=vf.promisc_unicast and not p.true_promisc and p.is_ice,
                promisc_multicast=vf.promisc_multicast,
                trusted=vf.trusted,
                spoof_check=vf.spoof_check,
                port_vlan=vf.port_vlan,
                strip=vf.strip,
                strip_tpids=vf.strip_tpids,
                insert_tpid=vf.insert_tpid,
                active=vf.phase is Phase.ACTIVE,
                link_up=link.is_up(self, vf),
                mdd_stopped=vf.mdd_stopped,
                rss_key=vf.rss_key,
                rss_lut=vf.rss_lut,
                hashcfg=rss.programmed(p, vf.hashcfg),
                symmetric=vf.symmetric,
                x722_classes=rss.tells_apart(p),
                rules=tuple(vf.rules),
                comms=p.ddp == "comms",
                num_queues=vf.num_queue_pairs,
                max_frame=self.max_frame(vf),
                rate=rate.in_force(p, vf.rate),
                delay_us=vf.delay_us,
            ),
        )

    def hold_back(self, vf: Vf) -> None:
        """A reset begins: what waits for an answer waits for its end on ice, or is forgotten."""
        if self.personality.is_ice and self.personality.reset_messages == "wait":
            vf.held_back.extend([*vf.inbox][: INBOX_LIMIT - len(vf.held_back)])
        self.drop_inbox(vf)

    def serve_held_back(self, vf: Vf) -> None:
        """Messages that came before the end of a reset are answered after it, in their turn.

        By the default allow-list: the VF has negotiated nothing then, whatever it had before.
        """
        vf.inbox.extend(vf.held_back)
        vf.stale = len(vf.held_back)
        vf.held_back.clear()
        if vf.inbox:
            self._think(vf)

    def drop_inbox(self, vf: Vf) -> None:
        """Messages that wait for an answer are forgotten."""
        vf.inbox.clear()
        vf.stale = 0
        if vf.inbox_timer is not None:
            vf.inbox_timer.cancel()
            vf.inbox_timer = None

    # ---- from message to answer

    def _admit(self, vf: Vf, opcode: int) -> bool:
        """Counts what waits, and what came in one event: ice ignores a VF that floods the mailbox.

        Several messages in one event need not be wrong (the answers to the first may be out), but
        a message that comes while another waits for its answer is.
        """
        at_once = self._in_hand.get(vf.index, 0) + 1
        self._in_hand[vf.index] = at_once
        if at_once == 1:
            self.scheduler.call_later(0, lambda: self._event_is_over(vf))
        if vf.inbox and opcode not in OUT_OF_TURN:
            vf.hardware.violation(
                "docs/spec/virtchnl.md 1",
                f"{name_of(opcode)} before the answer to {name_of(vf.inbox[0][0])}: "
                "one message at a time is the rule",
            )
        if self.personality.is_ice and max(at_once, len(vf.inbox) + 1) >= FLOOD:
            vf.flooded = True
            vf.hardware.violation(
                "docs/spec/virtchnl.md 9", "the VF floods the mailbox: ignored until it is reset"
            )
        return not vf.flooded and len(vf.inbox) < INBOX_LIMIT

    def _event_is_over(self, vf: Vf) -> None:
        self._in_hand.pop(vf.index, None)

    def _think(self, vf: Vf) -> None:
        def done() -> None:
            vf.inbox_timer = None
            if vf.inbox:
                stale, vf.stale = vf.stale > 0, max(vf.stale - 1, 0)
                self._serve(vf, *vf.inbox.popleft(), stale)
            if vf.inbox and vf.inbox_timer is None:
                self._think(vf)

        vf.inbox_timer = self.scheduler.call_later(self.personality.answer_ms / 1000, done)

    def _serve(self, vf: Vf, opcode: int, payload: bytes, stale: bool = False) -> None:
        """Answers a message; one that is stale was said before a reset, by the rules of then."""
        if self._is_lost(vf, opcode):
            return
        down = vf.phase in (Phase.RESETTING, Phase.DISABLED)
        if down and not self._served_when_down(vf, opcode, payload):
            return
        try:
            handler = self._handler(vf, opcode, payload)
        except Refused as refusal:
            self._tell_refusal(vf, opcode, refusal, stale)
            return
        try:
            ignored = self.faults.ignores(vf.index, opcode)
            answer = b"" if ignored else handler(self, vf, payload)
        except Silence:
            return
        except Refused as refusal:
            self._tell_refusal(vf, opcode, refusal, stale)
        except OSError as error:
            if error.errno not in REFUSED_QUEUES:
                raise
            vf.hardware.violation(
                "docs/spec/descriptors.md 10", f"{name_of(opcode)}: {error.strerror}"
            )
            self._refuse(vf, opcode, Status.ADMIN_QUEUE)
        else:
            vf.failures = 0
            self._answer(vf, opcode, SUCCESS, answer)
        if opcode in LINK_CHANGE_FOLLOWS:
            link.tell(self, vf)

    def _is_lost(self, vf: Vf, opcode: int) -> bool:
        if opcode and opcode == self.personality.drop_first and not vf.dropped_first:
            vf.dropped_first = True
            return True
        return self.faults.loses(vf.index, opcode)

    def _served_when_down(self, vf: Vf, opcode: int, payload: bytes) -> bool:
        """A message to a VF in reset or disabled; only ice's RESET_VF helps a disabled one."""
        down = "in reset" if vf.phase is Phase.RESETTING else "disabled"
        ice = self.personality.is_ice
        if ice and vf.phase is Phase.DISABLED and opcode == lib.VC_OP_RESET_VF:
            return True
        vf.hardware.violation(
            "docs/spec/virtchnl.md 8", f"{name_of(opcode)} while the VF is {down}"
        )
        if ice and vf.phase is Phase.RESETTING and self.personality.reset_messages == "wait":
            if len(vf.held_back) < INBOX_LIMIT:
                vf.held_back.append((opcode, payload))
        elif ice and (vf.phase is Phase.DISABLED or self.personality.reset_messages == "answer"):
            self._answer(vf, opcode, self._number(Status.PARAM), b"")
        return False

    def _tell_refusal(self, vf: Vf, opcode: int, refusal: Refused, stale: bool) -> None:
        text = f"{name_of(opcode)}: {refusal.text}"
        if stale:
            text += " (it was sent before the reset)"
        vf.hardware.violation(refusal.rule, text, "note" if stale else refusal.kind)
        self._refuse(vf, opcode, refusal.status, refusal.payload)

    def _handler(self, vf: Vf, opcode: int, payload: bytes) -> Handler:
        """Returns the handler of a message that may reach one, else raises Refused."""
        p, message = self.personality, MESSAGES.get(opcode)
        kernel = "6.12" if p.pf_kernel == "oot" and not p.is_ice else p.pf_kernel
        if message is None or kernel in message.unknown_to:
            raise Refused(
                Status.PARAM,
                "the PF does not know this opcode",
                kind="violation" if message is None else "note",  # whose kernel it is no VF knows
                rule="docs/spec/virtchnl.md 2",
            )
        fault = message.length_fault(payload, vf.version)
        if fault:
            raise Refused(Status.PARAM, fault, rule="docs/spec/virtchnl.md 5")
        if p.is_ice and not _unlocked(vf, message):
            raise Refused(Status.UNSUPPORTED, "not unlocked by what was negotiated")
        handler = message.handler_of(p.driver, p.pf_kernel)
        if handler is None:
            # A VF to which the capability was granted cannot know.
            known = message.handler_of(p.driver) is not None
            kind: ViolationKind = "note" if known else "violation"
            raise Refused(Status.UNSUPPORTED, "this PF does not serve the opcode", kind=kind)
        return handler

    def _number(self, status: Status | int) -> int:
        return number(status, self.personality.driver, self.personality.pf_kernel)

    def _refuse(self, vf: Vf, opcode: int, status: Status | int, payload: bytes = b"") -> None:
        self._answer(vf, opcode, self._number(status), payload)
        vf.failures += 1
        limit = self.personality.failure_limit
        if limit and vf.failures > limit and vf.phase in (Phase.INIT, Phase.ACTIVE):
            self.disable(vf, f"more than {limit} invalid messages in a row")

    def _answer(self, vf: Vf, opcode: int, retval: int, payload: bytes) -> None:
        for answer in self.faults.spoil(vf.index, opcode, Answer(opcode, retval, payload)):
            if answer.delay_ms:
                self._send_later(vf, answer)
            else:
                vf.hardware.send_to_vf(answer.opcode, answer.retval, answer.payload)

    def _send_later(self, vf: Vf, answer: Answer) -> None:
        self.scheduler.call_later(
            answer.delay_ms / 1000,
            lambda: vf.hardware.send_to_vf(answer.opcode, answer.retval, answer.payload),
        )


def _unlocked(vf: Vf, message: Message) -> bool:
    """ice's allow-list (docs/spec/virtchnl.md 9)."""
    if message.unlock == "always":
        return True
    if message.unlock == "by capability":
        return bool(vf.unlocked & message.gate)
    return vf.phase is Phase.ACTIVE
