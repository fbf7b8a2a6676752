# SPDX-License-Identifier: BSD-3-Clause
"""One negotiation with the PF: from a device that answers to resources that queues are built from.

A session ends with any VF reset; the next one starts from the same device (docs/spec/virtchnl.md
7, 8).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from iavfio._driver import lib
from iavfio.errors import (
    DeviceLost,
    IavfioError,
    MailboxError,
    MailboxTimeout,
    PfRefused,
    ResetError,
    ResetUnderWay,
    StateError,
    VfioError,
)
from iavfio.port.pf_state import PfState
from iavfio.port.vectors import MAILBOX_ENABLE, dyn_ctl
from iavfio.pyvfio import Bar, Device
from iavfio.virtchnl.adminq import AdminQueue
from iavfio.virtchnl.capabilities import ESSENTIAL, WANTED, CapabilityReport
from iavfio.virtchnl.client import VirtchnlClient
from iavfio.virtchnl.deadline import Deadline
from iavfio.virtchnl.journal import Journal
from iavfio.virtchnl.messages.queues import DISABLE_QUEUES, ENABLE_QUEUES
from iavfio.virtchnl.messages.resources import GET_SUPPORTED_RXDIDS, Resources
from iavfio.virtchnl.messages.vlan_v2 import GET_OFFLOAD_VLAN_V2_CAPS, VlanCaps

# Seconds that Linux and DPDK wait for RSTAT, too (docs/spec/admin-queue.md 9).
READY_DEADLINE = 20.0
# Seconds: a PF may refuse for seconds after a reset (docs/spec/field-evidence.md 4.2).
NEGOTIATE_DEADLINE = 10.0
SLOW_READY = 2.0  # after which a reset without an end is told
SEEN_DEADLINE = 1.0  # for a reset that was announced or asked for to begin
GONE_DEADLINE = 1.0  # PCIe gives a function no longer to answer again after its reset
REFUSED_PATIENCE = 2.0  # seconds in which a PF may refuse before the VF is reset for it
NO_ANSWER = int(lib.RSTAT_MASK)  # what all ones come to
LARGEST_FRAME: int = lib.RX_MAX_FRAME


class Session:
    """Mailbox, version and resources between two resets."""

    def __init__(
        self,
        device: Device,
        bar: Bar,
        journal: Journal,
        restore_interrupts: Callable[[], None],
    ) -> None:
        self.device = device
        self.bar = bar
        self.journal = journal
        self.abandoned = threading.Event()  # somebody closes the port: waits end at once
        self.adminq = AdminQueue(bar, device.space, device.gone)
        self.client = VirtchnlClient(self.adminq, journal, resetting=self.abandoned.is_set)
        self.resources: Resources
        self.report = CapabilityReport(WANTED, 0)
        self.rxdids: frozenset[int] = frozenset()
        self.vlan_caps: VlanCaps | None = None
        self.held = PfState()
        """What the PF holds of the VF since the last negotiation."""
        self.generation = 0
        self.dma_live = False
        """ENABLE_QUEUES was sent: only DISABLE_QUEUES or a reset ends DMA."""
        self.deadline = Deadline()  # of the operation under way
        self._restore_interrupts = restore_interrupts

    @contextmanager
    def within(self, seconds: float) -> Iterator[Deadline]:
        """Inside, requests and waits end by one deadline that they share.

        The port's lock is held. Inside of another such block the earlier deadline counts.
        """
        outer = self.deadline
        self.deadline = self.client.deadline = outer.part(seconds)
        try:
            yield self.deadline
        finally:
            self.deadline = self.client.deadline = outer

    def rstat(self) -> int:
        """VFGEN_RSTAT's state; 3 = the function does not answer. Raises DeviceLost."""
        value = self.bar.read32(lib.REG_VFGEN_RSTAT)
        if value == lib.REG_GONE and self.device.lost:
            raise self.device.gone()
        return value & int(lib.RSTAT_MASK)

    def look_again(self) -> bool:
        """Whether a lost device is there again, as when the host has loaded the PF's driver."""
        return self.bar.look_again(lib.REG_VFGEN_RSTAT) and not self.device.lost

    def wait_ready(self, *, after_reset: bool = False) -> None:
        """Waits until the PF has made the VF active; raises ResetError after READY_DEADLINE.

        COMPLETED or VFACTIVE will do at start, only VFACTIVE after a reset (docs/spec/virtchnl.md
        8). Raises DeviceLost when the function does not answer for longer than a reset may take.
        """
        wanted = {int(lib.RSTAT_VFACTIVE)}
        if not after_reset:
            wanted.add(int(lib.RSTAT_COMPLETED))
        began = now = time.monotonic()
        patience = self.deadline.within(READY_DEADLINE)
        end, answered, told = now + patience, now, False
        while (state := self.rstat()) not in wanted:
            now = time.monotonic()
            if state != NO_ANSWER:
                answered = now
            elif now - answered >= GONE_DEADLINE:
                raise DeviceLost(
                    f"{self.device.name} is gone",
                    f"its registers have read all ones for {GONE_DEADLINE:g} s",
                    "close the port; open it again when the VF is back",
                )
            if now > end:
                raise ResetError(
                    f"{self.device.name} did not become active within {patience:.2g} s",
                    "the PF driver does not finish the VF's reset",
                    "look at the host's dmesg for the PF; reload its driver or disable the VF",
                )
            if not told and now - began > SLOW_READY:
                told = True
                self.journal.note(
                    f"the PF has not finished the VF's reset for {SLOW_READY:g} s; it has "
                    f"{patience:.2g} s in all: look at the host's dmesg for the PF",
                    logging.WARNING,
                )
            late = min(max((now - began) / 16, 0.0005), 0.01)  # by a 16th, not by a half
            self.pause(min(late, answered + GONE_DEADLINE - now))

    def pause(self, seconds: float) -> None:
        """Sleeps within the deadline; raises StateError when the port is being closed."""
        if self.abandoned.wait(self.deadline.within(seconds)):
            raise StateError(f"{self.device.name} is being closed", "", "")

    def was_reset(self) -> bool:
        """Whether hardware took the mailbox away since it was set up (docs/spec/registers.md 3).

        The answer stays true until the mailbox is set up anew, so that no reset is missed, however
        short (docs/spec/reliability.md F22). Raises DeviceLost.
        """
        value = self.bar.read32(lib.REG_VF_ARQLEN1)
        if value == lib.REG_GONE and self.device.lost:
            raise self.device.gone()
        return value in (lib.REG_GONE, lib.REG_IN_RESET) or not value & lib.AQLEN_ENABLE

    def wait_reset_begins(self) -> bool:
        """Whether a reset began within SEEN_DEADLINE, or half of the time that is left."""
        end = time.monotonic() + min(SEEN_DEADLINE, self.deadline.left / 2)
        while not self.was_reset():
            if time.monotonic() > end:
                return False
            self.pause(0.001)
        return True

    def force_reset(self) -> None:
        """RESET_VF; a function-level reset where the PF does not hear that.

        See docs/spec/reliability.md F11. Raises ResetError when neither has an effect.
        """
        if not self.client.needs_reset and self.device.config.bus_master:
            try:
                self.client.reset_vf()
                if self.wait_reset_begins():
                    return
            except MailboxError as error:
                self.journal.note(f"RESET_VF failed: {error.what}", logging.WARNING)
        self.device.reset()
        if not self.wait_reset_begins():
            raise ResetError(
                f"{self.device.name} cannot be reset",
                "neither RESET_VF nor a function-level reset has an effect",
                "disable and enable the VF on the host",
            )

    def negotiate(self, *, after_reset: bool = False) -> None:
        """Mailbox up, VERSION, GET_VF_RESOURCES and what the granted capabilities add.

        A PF that is still at work refuses or stays silent for a while; that is waited for until the
        deadline, then raised. The VF is reset in between where nothing else can help: after a reply
        that is lost twice (the PF may have acted on the request, and i40e refuses to be asked
        twice), after nonsense, and once when refusals do not end. Silence alone is no reason: many
        VFs that start together would keep a busy PF busy with their resets. A PF that refuses after
        the reset, too, may mind a capability: it is asked for the essential ones.
        """
        end = time.monotonic() + self.deadline.within(NEGOTIATE_DEADLINE)
        patience = min(REFUSED_PATIENCE, NEGOTIATE_DEADLINE / 3)
        impatient = time.monotonic() + patience
        after_own_reset = False
        pause = 0.01
        lost = False
        caps = WANTED
        while True:
            try:
                self.wait_ready(after_reset=after_reset)
                self._negotiate(caps)
                return
            except (PfRefused, MailboxError, ResetUnderWay) as error:
                now = time.monotonic()
                if now > end or self.deadline.over:
                    raise
                self.pause(pause)
                if isinstance(error, ResetUnderWay):
                    continue  # one more reset: no reason to be slower
                pause = min(pause * 2, 0.5)
                if isinstance(error, PfRefused):
                    if now < impatient:
                        continue
                    if after_own_reset:
                        self.journal.note(f"asking for less: {error.what}", logging.WARNING)
                        caps = ESSENTIAL
                        impatient = end
                        continue
                elif isinstance(error, MailboxTimeout) and (self.client.suspect or not lost):
                    lost = not self.client.suspect  # else a later VERSION was not answered either
                    continue
                self.journal.note(f"negotiation failed: {error.what}", logging.WARNING)
                self.force_reset()
                after_reset = after_own_reset = True
                impatient = min(time.monotonic() + patience, end)

    def _negotiate(self, caps: int) -> None:
        if not self.device.config.bus_master:  # FLR clears it; without it no message arrives
            self.device.config.bus_master = True
        self._restore_interrupts()
        self.client.restart()
        self.take_causes()  # one of the time before the reset may be latched
        self.bar.write32(lib.REG_VFINT_ICR0_ENA1, lib.ICR0_ADMINQ)
        self.bar.write32(dyn_ctl(0), MAILBOX_ENABLE)
        self.client.version()
        self.resources = self.client.resources(caps)
        self.report = CapabilityReport(WANTED, self.resources.caps)
        self.rxdids, self.vlan_caps = frozenset(), None
        if self.has(lib.VC_CAP_RX_FLEX_DESC):
            self.rxdids = self.client.ask(GET_SUPPORTED_RXDIDS())
        if self.has(lib.VC_CAP_VLAN_V2):
            self.vlan_caps = self.client.ask(GET_OFFLOAD_VLAN_V2_CAPS())
        self.held = PfState.after_reset(self.resources.vsi.mac)
        self.generation += 1

    def take_causes(self) -> None:
        """Reads VFINT_ICR01, which clears it: a cause that stays latched may hide the next one.

        Before the mailbox is looked at: a message that comes later sets the cause anew. An E810's
        VF has no such register; its address reads 0 (docs/spec/registers.md 5.2).
        """
        self.bar.read32(lib.REG_VFINT_ICR01)

    def has(self, capability: int) -> bool:
        """Whether the PF granted a capability (VC_CAP_*)."""
        return self.report.has(capability)

    @property
    def max_frame(self) -> int:
        """The PF's longest frame in bytes with FCS; its 0 means that it does not say."""
        return self.resources.max_frame or LARGEST_FRAME

    @property
    def rxdid(self) -> int:
        """The best receive descriptor format: 22 where offered, else another with a hash.

        0 is the legacy format.
        """
        for wanted in (lib.RXDID_COMMS_OVS_1, lib.RXDID_COMMS_GENERIC, lib.RXDID_FLEX_NIC):
            if wanted in self.rxdids:
                return int(wanted)
        return 0

    def rxdid_asked(self, rxdid: int) -> int:
        """The format `rxdid` as CONFIG_VSI_QUEUES names it.

        A PF that granted RX_FLEX_DESC knows the legacy format as 1 and refuses 0; without that
        grant the byte is padding and stays 0 (docs/spec/virtchnl.md 9).
        """
        legacy = int(lib.RXDID_LEGACY_32B) if self.has(lib.VC_CAP_RX_FLEX_DESC) else 0
        return rxdid or legacy

    @property
    def may_strip_vlan(self) -> bool:
        """Whether the PF offers this VF to strip VLAN tags, and so may do it unasked."""
        if self.vlan_caps is None:
            return self.has(lib.VC_CAP_VLAN)
        return bool(self.vlan_caps.stripping.outer or self.vlan_caps.stripping.inner)

    @property
    def vlan_in_l2tag2(self) -> int:
        """1 when a stripped tag stands in L2TAG2: the outer tag's place if there is one.

        See docs/spec/descriptors.md 9.
        """
        caps = self.vlan_caps
        if caps is None:
            return 0
        word = caps.stripping.outer or caps.stripping.inner
        return int(bool(word & lib.VC_VLAN_TAG_L2TAG2_2))

    def enable_queues(self, bitmap: int) -> None:
        """ENABLE_QUEUES for both sides of these pairs. Raises as a request does."""
        self.dma_live = True  # from here on, whatever the reply
        self.client.ask(ENABLE_QUEUES(bitmap, bitmap))

    def disable_queues(self, bitmap: int) -> None:
        """DISABLE_QUEUES for both sides of these pairs. Raises as a request does."""
        self.client.ask(DISABLE_QUEUES(bitmap, bitmap))

    def end_bus_master(self) -> None:
        """Ends bus master, without which the device writes nothing (docs/spec/vfio.md 5)."""
        if not self.device.lost:
            try:
                self.device.config.bus_master = False
            except VfioError:
                pass  # a device that is gone writes nothing either

    def close(self) -> None:
        """Shuts the mailbox down, also of a device that misbehaves, and gives its memory back."""
        if not self.device.lost:
            try:
                if not self.device.config.bus_master:
                    self.device.reset()  # it could not take the message
                self.adminq.shutdown()
                self.bar.write32(dyn_ctl(0), 0)
            except IavfioError as error:
                self.journal.note(f"shut down out of order: {error}", logging.INFO)
        try:
            self.adminq.close()
        except MailboxError:
            self.device.reset()  # it ignores the shutdown
            self.adminq.close()
