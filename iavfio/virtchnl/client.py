# SPDX-License-Identifier: BSD-3-Clause
"""The driver's virtchnl client: one typed method for each request (spec: virtchnl 2-5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from iavfio._driver import lib
from iavfio.errors import ItemRefused, MailboxTimeout, PfRefused, ResetUnderWay, StateError
from iavfio.virtchnl.adminq import Message
from iavfio.virtchnl.capabilities import WANTED, CapabilityReport
from iavfio.virtchnl.channel import DEADLINE, Channel
from iavfio.virtchnl.messages import filters, queues, resources, rss, vlan
from iavfio.virtchnl.messages import opcodes as op
from iavfio.virtchnl.messages.resources import Resources, Version

Item = TypeVar("Item")


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

    # Negotiation

    def version(self, deadline: float = DEADLINE) -> Version:
        """VERSION: 1.0 or 1.1, else MailboxError."""
        wanted = Version(lib.VC_VERSION_MAJOR, lib.VC_VERSION_MINOR)
        reply = self.request(op.VERSION, resources.encode_version(wanted), deadline)
        self.spoken = resources.decode_version(reply)
        return self.spoken

    def resources(self, caps: int = WANTED, deadline: float = DEADLINE) -> Resources:
        """GET_VF_RESOURCES: asks for `caps`, returns what the PF gives.

        Right after a reset a PF may refuse with ERR_PARAM while it finishes: negotiate again. i40e
        refuses a second call without a reset in between.
        """
        payload = resources.encode_resources(caps, self.spoken)
        reply = self.request(op.GET_VF_RESOURCES, payload, deadline)
        found = resources.decode_resources(reply)
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

    def rxdids(self) -> frozenset[int]:
        """GET_SUPPORTED_RXDIDS: the Rx descriptor formats on offer."""
        return resources.decode_rxdids(self._gated(op.GET_SUPPORTED_RXDIDS))

    def request_queues(self, queue_pairs: int, deadline: float = DEADLINE) -> QueueGrant:
        """REQUEST_QUEUES: granted by a reset, refused by a number, or no answer at all.

        i40e does not answer a VF whose queues are not set up: MailboxTimeout.
        """
        self.report.require(op.REQUEST_QUEUES)
        payload = resources.encode_request_queues(queue_pairs)
        noticed = self.counters.reset_notices
        try:
            reply = self.request(op.REQUEST_QUEUES, payload, deadline)
        except ResetUnderWay:
            return QueueGrant(True, queue_pairs)
        except MailboxTimeout:
            if self.counters.reset_notices > noticed:
                return QueueGrant(True, queue_pairs)
            raise
        return QueueGrant(False, resources.decode_request_queues(reply))

    def reset_vf(self) -> None:
        """RESET_VF: there is no reply; watch the admin queue for the reset itself."""
        try:
            self.post(op.RESET_VF)
        except ResetUnderWay:
            pass  # it began before the device had reported the message taken

    # Queues

    def config_queues(self, pairs: Sequence[queues.QueuePair]) -> None:
        """CONFIG_VSI_QUEUES."""
        for message in queues.encode_config_queues(self.vsi_id, pairs):
            self._gated(op.CONFIG_VSI_QUEUES, message)

    def irq_map(self, vectors: Sequence[queues.VectorMap]) -> None:
        """CONFIG_IRQ_MAP. PFs want it in poll mode too; ice takes no queue on vector 0."""
        self._gated(op.CONFIG_IRQ_MAP, queues.encode_irq_map(self.vsi_id, vectors))

    def enable_queues(self, rx_queues: int, tx_queues: int) -> None:
        """ENABLE_QUEUES: bitmaps. A LINK_CHANGE event follows."""
        self._select(op.ENABLE_QUEUES, rx_queues, tx_queues, DEADLINE)

    def disable_queues(self, rx_queues: int, tx_queues: int, deadline: float = DEADLINE) -> None:
        """DISABLE_QUEUES: bitmaps. After it returned the device writes to no ring of these."""
        self._select(op.DISABLE_QUEUES, rx_queues, tx_queues, deadline)

    def stats(self, deadline: float = DEADLINE) -> queues.VsiStats:
        """GET_STATS: the VSI's 12 counters."""
        payload = queues.encode_queue_select(op.GET_STATS, self.vsi_id, 0, 0)
        return queues.decode_stats(self.request(op.GET_STATS, payload, deadline))

    # Filters

    def add_macs(self, macs: Sequence[bytes], primary: bytes | None = None) -> None:
        """ADD_ETH_ADDR. Raises ItemRefused naming the address and what was added before it."""

        def encode(part: Sequence[bytes]) -> list[bytes]:
            return filters.encode_macs(op.ADD_ETH_ADDR, self.vsi_id, part, primary)

        self._add_each(op.ADD_ETH_ADDR, macs, encode, filters.mac_text)

    def del_macs(self, macs: Sequence[bytes]) -> None:
        """DEL_ETH_ADDR. After a refusal some may be gone: delete one by one to know."""
        for message in filters.encode_macs(op.DEL_ETH_ADDR, self.vsi_id, macs):
            self._gated(op.DEL_ETH_ADDR, message)

    def add_vlans(self, vids: Sequence[int]) -> None:
        """ADD_VLAN. Beyond an untrusted VF's limit PFs answer SUCCESS and do nothing."""

        def encode(part: Sequence[int]) -> list[bytes]:
            return filters.encode_vlans(op.ADD_VLAN, self.vsi_id, part)

        self._add_each(op.ADD_VLAN, vids, encode, lambda vid: f"VLAN {vid}")

    def del_vlans(self, vids: Sequence[int]) -> None:
        """DEL_VLAN."""
        for message in filters.encode_vlans(op.DEL_VLAN, self.vsi_id, vids):
            self._gated(op.DEL_VLAN, message)

    def promiscuous(self, unicast: bool, multicast: bool) -> None:
        """CONFIG_PROMISCUOUS_MODE.

        Its success proves nothing: PFs answer SUCCESS to an untrusted VF and ignore it (F9).
        """
        payload = filters.encode_promiscuous(self.vsi_id, unicast, multicast)
        self._gated(op.CONFIG_PROMISCUOUS_MODE, payload)

    # VLAN V2 and stripping

    def vlan_caps(self) -> vlan.VlanCaps:
        """GET_OFFLOAD_VLAN_V2_CAPS."""
        return vlan.decode_vlan_caps(self._gated(op.GET_OFFLOAD_VLAN_V2_CAPS))

    def add_vlan_filters(self, wanted: Sequence[vlan.VlanFilter]) -> None:
        """ADD_VLAN_V2."""

        def encode(part: Sequence[vlan.VlanFilter]) -> list[bytes]:
            return vlan.encode_vlan_filters(op.ADD_VLAN_V2, self.vsi_id, part)

        self._add_each(op.ADD_VLAN_V2, wanted, encode, str)

    def del_vlan_filters(self, unwanted: Sequence[vlan.VlanFilter]) -> None:
        """DEL_VLAN_V2."""
        for message in vlan.encode_vlan_filters(op.DEL_VLAN_V2, self.vsi_id, unwanted):
            self._gated(op.DEL_VLAN_V2, message)

    def vlan_strip(self, on: bool, caps: vlan.VlanCaps | None = None, tpid: int = 0x8100) -> None:
        """Switches VLAN stripping: V2 with `caps` from `vlan_caps()`, else the plain message."""
        if caps is None:
            self._gated(op.ENABLE_VLAN_STRIPPING if on else op.DISABLE_VLAN_STRIPPING)
            return
        opcode = op.ENABLE_VLAN_STRIPPING_V2 if on else op.DISABLE_VLAN_STRIPPING_V2
        setting = vlan.choose_setting(caps.stripping, tpid)
        self._gated(opcode, vlan.encode_vlan_setting(opcode, self.vsi_id, setting))

    def vlan_insert(self, on: bool, caps: vlan.VlanCaps, tpid: int = 0x8100) -> None:
        """Switches VLAN insertion (V2 only; with the plain capability it is always on)."""
        opcode = op.ENABLE_VLAN_INSERTION_V2 if on else op.DISABLE_VLAN_INSERTION_V2
        setting = vlan.choose_setting(caps.insertion, tpid)
        self._gated(opcode, vlan.encode_vlan_setting(opcode, self.vsi_id, setting))

    # RSS

    def rss_key(self, key: bytes) -> None:
        """CONFIG_RSS_KEY."""
        self._gated(op.CONFIG_RSS_KEY, rss.encode_rss_key(self.vsi_id, key))

    def rss_lut(self, lut: Sequence[int]) -> None:
        """CONFIG_RSS_LUT: a queue number for each entry."""
        most = self._resources.queue_pairs if self._resources else 1
        self._gated(op.CONFIG_RSS_LUT, rss.encode_rss_lut(self.vsi_id, lut, most))

    def rss_hfunc(self, function: rss.HashFunction) -> None:
        """CONFIG_RSS_HFUNC. i40e does not know it."""
        self._gated(op.CONFIG_RSS_HFUNC, rss.encode_rss_hfunc(self.vsi_id, function))

    def hashcfg_caps(self) -> int:
        """GET_RSS_HASHCFG_CAPS: bitmap of packet types that can be hashed."""
        return rss.decode_hashcfg(self._gated(op.GET_RSS_HASHCFG_CAPS))

    def set_hashcfg(self, fields: int) -> None:
        """SET_RSS_HASHCFG; 0 turns RSS off. Some PFs refuse it although RSS_PF was granted."""
        self._gated(op.SET_RSS_HASHCFG, rss.encode_hashcfg(fields))

    # Inside

    def _matched(self, message: Message) -> None:
        # A LINK_CHANGE follows at once, and its speed is read as this reply says.
        if message.opcode == op.GET_VF_RESOURCES and not message.status:
            granted = int.from_bytes(message.payload[8:12], "little")
            self.journal.adv_link_speed = bool(granted & lib.VC_CAP_ADV_LINK_SPEED)

    def _gated(self, opcode: int, payload: bytes = b"") -> bytes:
        self.report.require(opcode)
        return self.request(opcode, payload)

    def _select(self, opcode: int, rx_queues: int, tx_queues: int, deadline: float) -> None:
        payload = queues.encode_queue_select(opcode, self.vsi_id, rx_queues, tx_queues)
        self.request(opcode, payload, deadline)

    def _add_each(
        self,
        opcode: int,
        items: Sequence[Item],
        encode: Callable[[Sequence[Item]], list[bytes]],
        name: Callable[[Item], str],
    ) -> None:
        """Adds a list in few messages; after a refusal one by one, to find the item (F9).

        Adding what is there already is fine with every PF, so nothing is lost by trying again.
        """
        try:
            for message in encode(items):
                self._gated(opcode, message)
            return
        except PfRefused as error:
            if len(items) == 1:
                raise ItemRefused(error, name(items[0]), (), ()) from error
        for at, item in enumerate(items):
            try:
                self._gated(opcode, encode([item])[0])
            except PfRefused as error:
                done, rest = tuple(items[:at]), tuple(items[at + 1 :])
                raise ItemRefused(error, name(item), done, rest) from error
