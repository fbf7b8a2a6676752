# SPDX-License-Identifier: BSD-3-Clause
"""The driver's virtchnl client: typed requests, and the few that are more than one message.

`ask` takes any message of `messages/`:

    client.ask(CONFIG_RSS_KEY(key))
    client.ask(GET_STATS(), deadline=1.0).rx_bytes

Methods remain for what needs the state of the negotiation or more than one message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from iavfio._driver import lib
from iavfio.errors import ItemRefused, MailboxTimeout, PfRefused, ResetUnderWay, StateError
from iavfio.virtchnl.adminq import Message
from iavfio.virtchnl.capabilities import WANTED, CapabilityReport
from iavfio.virtchnl.channel import Channel
from iavfio.virtchnl.messages.filters import ADD_ETH_ADDR, mac_text
from iavfio.virtchnl.messages.message_type import Request
from iavfio.virtchnl.messages.resources import (
    GET_VF_RESOURCES,
    REQUEST_QUEUES,
    RESET_VF,
    VERSION,
    Resources,
    Version,
)
from iavfio.virtchnl.messages.vlan import ADD_VLAN, DISABLE_VLAN_STRIPPING, ENABLE_VLAN_STRIPPING
from iavfio.virtchnl.messages.vlan_v2 import (
    ADD_VLAN_V2,
    DISABLE_VLAN_INSERTION_V2,
    DISABLE_VLAN_STRIPPING_V2,
    ENABLE_VLAN_INSERTION_V2,
    ENABLE_VLAN_STRIPPING_V2,
    VlanCaps,
    VlanFilter,
    choose_setting,
)

Item = TypeVar("Item")
R = TypeVar("R")
UNTRUSTED_MACS = 18  # of a VF that is not trusted, by no PF more (docs/spec/virtchnl.md 9)


@dataclass(frozen=True, slots=True)
class QueueGrant:
    """Outcome of REQUEST_QUEUES.

    Granted: a VF reset is under way, after which GET_VF_RESOURCES reports the new number.
    Refused: `queue_pairs` is the number that the PF says would work; nothing changed.
    """

    granted: bool
    queue_pairs: int


class VirtchnlClient(Channel):
    """Typed requests. Each raises as `Channel.request` does, and ConfigError before sending.

    `version()` and `resources()` come first, again after each reset; a request whose capability
    was not granted raises NotGranted and is not sent.
    """

    spoken = Version(lib.VC_VERSION_MAJOR, lib.VC_VERSION_MINOR)
    _resources: Resources | None = None
    _report: CapabilityReport | None = None

    def ask(self, request: Request[R], deadline: float | None = None) -> R:
        """Sends a request and returns what its reply says.

        A list that is too long for one message goes as several; the last reply is returned.
        `deadline` is in seconds for each message, and defaults to the message's own. Raises
        StateError before the negotiation, NotGranted, ConfigError, and as `Channel.request` does.
        """
        message = request.type
        if not message.negotiates:
            self.report.require(message)
        reply = b""
        for payload in request.payloads(0 if message.negotiates else self.vsi_id):
            reply = self.request(message, payload, deadline)
        return message.read(reply)

    # Negotiation

    def version(self) -> Version:
        """Says VERSION 1.1 and returns the PF's: 1.0 or 1.1; any other is a MailboxError."""
        wanted = Version(lib.VC_VERSION_MAJOR, lib.VC_VERSION_MINOR)
        self.spoken = self.ask(VERSION(wanted))
        return self.spoken

    def resources(self, caps: int = WANTED) -> Resources:
        """Asks for capabilities and returns what the PF gives (GET_VF_RESOURCES).

        Right after a reset a PF may refuse with ERR_PARAM while it finishes: negotiate again. Some
        i40e refuse a second call without a reset in between (docs/spec/virtchnl.md 9).
        """
        found = self.ask(GET_VF_RESOURCES(caps, self.spoken))
        self._resources = found
        self._report = CapabilityReport(caps, found.caps)
        return found

    def restart(self) -> None:
        """Sets the queue up after a reset; what was negotiated is void."""
        self._resources = self._report = None
        super().restart()

    @property
    def report(self) -> CapabilityReport:
        """Asked and granted capabilities. Raises StateError before `resources()`."""
        if self._report is None:
            raise StateError("nothing was negotiated yet", "", "call resources() first")
        return self._report

    @property
    def vsi_id(self) -> int:
        """The VSI id that every message carries. Raises StateError before `resources()`."""
        if self._resources is None:
            raise StateError("nothing was negotiated yet", "", "call resources() first")
        return self._resources.vsi.vsi_id

    def request_queues(self, queue_pairs: int, deadline: float | None = None) -> QueueGrant:
        """Asks for more or fewer queue pairs: granted by a reset, refused by a number.

        Raises MailboxTimeout where neither comes: i40e does not answer a VF that is not active.
        """
        noticed = self.counters.reset_notices
        try:
            return QueueGrant(False, self.ask(REQUEST_QUEUES(queue_pairs), deadline))
        except ResetUnderWay:
            return QueueGrant(True, queue_pairs)
        except MailboxTimeout:
            if self.counters.reset_notices > noticed:
                return QueueGrant(True, queue_pairs)
            raise

    def reset_vf(self) -> None:
        """Asks for a VF reset. There is no reply; watch the admin queue for the reset itself."""
        try:
            self.post(RESET_VF)
        except ResetUnderWay:
            pass  # it began before the device had reported the message taken

    # Lists

    def add_macs(
        self, macs: Sequence[bytes], primary: bytes | None = None, further: int = 0
    ) -> None:
        """Adds MAC filters. Raises ItemRefused naming the address and what was added before it.

        `further`: how many the PF holds already besides the VF's own, for the error.
        """
        try:
            self._add_each(macs, lambda part: ADD_ETH_ADDR(part, primary), mac_text)
        except ItemRefused as refused:
            room = further + len(refused.accepted)
            if room > UNTRUSTED_MACS:
                refused.advise(
                    f"the PF has no room for more than {room} further addresses; the VF is "
                    "trusted, since one that is not has fewer",
                    "use fewer extra_macs, or promiscuous=True",
                )
            raise

    def add_vlans(self, vids: Sequence[int]) -> None:
        """Adds plain VLAN filters. Raises ItemRefused; see ADD_VLAN for what success is worth."""
        self._add_each(vids, ADD_VLAN, lambda vid: f"VLAN {vid}")

    def add_vlan_filters(self, wanted: Sequence[VlanFilter]) -> None:
        """Adds VLAN V2 filters. Raises ItemRefused."""
        self._add_each(wanted, ADD_VLAN_V2, str)

    # Offloads

    def vlan_strip(self, on: bool, caps: VlanCaps | None = None, tpid: int = 0x8100) -> None:
        """Switches VLAN stripping: V2 with the PF's `caps`, else with the plain message.

        Raises ConfigError when the PF does not offer it for `tpid`.
        """
        if caps is None:
            self.ask(ENABLE_VLAN_STRIPPING() if on else DISABLE_VLAN_STRIPPING())
            return
        switch = ENABLE_VLAN_STRIPPING_V2 if on else DISABLE_VLAN_STRIPPING_V2
        self.ask(switch(choose_setting(caps.stripping, tpid)))

    def vlan_insert(self, on: bool, caps: VlanCaps, tpid: int = 0x8100) -> None:
        """Switches VLAN insertion (V2 only; with the plain capability it is always on).

        Raises ConfigError when the PF does not offer it for `tpid`.
        """
        switch = ENABLE_VLAN_INSERTION_V2 if on else DISABLE_VLAN_INSERTION_V2
        self.ask(switch(choose_setting(caps.insertion, tpid)))

    # Inside

    def _matched(self, message: Message) -> None:
        # A LINK_CHANGE follows at once, and its speed is read as this reply says.
        if message.opcode == GET_VF_RESOURCES.number and not message.status:
            granted = int.from_bytes(message.payload[8:12], "little")
            self.journal.adv_link_speed = bool(granted & lib.VC_CAP_ADV_LINK_SPEED)

    def _add_each(
        self,
        items: Sequence[Item],
        request: Callable[[Sequence[Item]], Request[None]],
        name: Callable[[Item], str],
    ) -> None:
        """Adds a list in few messages; after a refusal one by one, to find the item.

        Adding what is there already is fine with every PF, so nothing is lost by trying again
        (docs/spec/reliability.md F9).
        """
        try:
            self.ask(request(items))
            return
        except PfRefused as error:
            if len(items) == 1:
                raise ItemRefused(error, name(items[0]), (), ()) from error
        for at, item in enumerate(items):
            try:
                self.ask(request([item]))
            except PfRefused as error:
                done, rest = tuple(items[:at]), tuple(items[at + 1 :])
                raise ItemRefused(error, name(item), done, rest) from error
