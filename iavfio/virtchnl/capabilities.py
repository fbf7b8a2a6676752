# SPDX-License-Identifier: BSD-3-Clause
"""What a VF may ask its PF for, what was granted, what is lost without it.

See docs/spec/virtchnl.md 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from iavfio._driver import lib
from iavfio.errors import NotGranted

if TYPE_CHECKING:
    from iavfio.virtchnl.messages.message_type import AnyMessage


@dataclass(frozen=True, slots=True)
class Capability:
    """One bit: what it gives, and what the user loses without it."""

    bit: int
    name: str
    gives: str
    without: str


CAPABILITIES: Final[tuple[Capability, ...]] = (
    Capability(
        lib.VC_CAP_L2,
        "L2",
        "MAC filters and promiscuous mode",
        "only frames for the address that the PF programmed arrive",
    ),
    Capability(lib.VC_CAP_RDMA, "RDMA", "RDMA messages", "no RDMA"),
    Capability(lib.VC_CAP_RSS_AQ, "RSS_AQ", "RSS by admin queue", "RSS is set by messages"),
    Capability(lib.VC_CAP_RSS_REG, "RSS_REG", "RSS by registers", "RSS is set by messages"),
    Capability(
        lib.VC_CAP_WB_ON_ITR,
        "WB_ON_ITR",
        "timed descriptor write-back without interrupts",
        "a polling driver must run an ITR with interrupts, else packets wait for a full cache line",
    ),
    Capability(
        lib.VC_CAP_REQ_QUEUES,
        "REQ_QUEUES",
        "asking for more queues",
        "the number of queues is what the PF gave",
    ),
    Capability(
        lib.VC_CAP_ADV_LINK_SPEED,
        "ADV_LINK_SPEED",
        "link speed in Mb/s",
        "speeds other than 0.1, 1, 2.5, 5, 10, 20, 25, 40 Gb/s show as unknown",
    ),
    Capability(lib.VC_CAP_INLINE_IPSEC, "INLINE_IPSEC", "inline IPsec", "no inline IPsec"),
    Capability(
        lib.VC_CAP_LARGE_NUM_QPAIRS, "LARGE_NUM_QPAIRS", "up to 256 queues", "at most 16 queues"
    ),
    Capability(lib.VC_CAP_CRC, "CRC", "keeping the frame check sequence", "the FCS is stripped"),
    Capability(lib.VC_CAP_TC_U32, "TC_U32", "raw flow patterns", "no raw flow patterns"),
    Capability(lib.VC_CAP_QGRPS, "QGRPS", "queue groups", "no queue groups"),
    Capability(
        lib.VC_CAP_FLOW_STEER_TO_QGRP,
        "FLOW_STEER_TO_QGRP",
        "steering to queue groups",
        "no steering to queue groups",
    ),
    Capability(lib.VC_CAP_FSUB_PF, "FSUB_PF", "flow subscription", "no flow subscription"),
    Capability(
        lib.VC_CAP_VLAN_V2,
        "VLAN_V2",
        "VLAN filters and offloads for outer and inner tags",
        "plain VLAN messages are used, if granted: one 8100 tag",
    ),
    Capability(
        lib.VC_CAP_VLAN,
        "VLAN",
        "VLAN filters and stripping of one 8100 tag",
        "VLAN_V2 replaces it, or a port VLAN rules it out: tags stay in the frame",
    ),
    Capability(
        lib.VC_CAP_RX_POLLING,
        "RX_POLLING",
        "queues on vector 0",
        "each polled queue needs a vector of its own or a shared one above 0",
    ),
    Capability(
        lib.VC_CAP_RSS_PCTYPE_V2, "RSS_PCTYPE_V2", "more packet types to hash", "basic hash types"
    ),
    Capability(
        lib.VC_CAP_RSS_PF,
        "RSS_PF",
        "RSS key, table and hash fields by message",
        "all packets arrive in queue 0",
    ),
    Capability(lib.VC_CAP_ENCAP, "ENCAP", "tunnel offloads", "no tunnel offloads"),
    Capability(
        lib.VC_CAP_ENCAP_CSUM, "ENCAP_CSUM", "tunnel checksums on Tx", "no tunnel checksums"
    ),
    Capability(
        lib.VC_CAP_RX_ENCAP_CSUM, "RX_ENCAP_CSUM", "tunnel checksums on Rx", "no tunnel checksums"
    ),
    Capability(lib.VC_CAP_ADQ, "ADQ", "application device queues", "no traffic classes"),
    Capability(lib.VC_CAP_ADQ_V2, "ADQ_V2", "application device queues, V2", "no traffic classes"),
    Capability(
        lib.VC_CAP_USO,
        "USO",
        "UDP segmentation, and on i40e a default MAC address",
        "UDP is segmented in software; the PF may report no MAC address",
    ),
    Capability(
        lib.VC_CAP_RX_FLEX_DESC,
        "RX_FLEX_DESC",
        "flexible Rx descriptors",
        "legacy Rx descriptors: no flow id or timestamp beside the hash",
    ),
    Capability(
        lib.VC_CAP_ADV_RSS_PF,
        "ADV_RSS_PF",
        "RSS rules by protocol headers",
        "packets of one tunnel arrive in one queue: Rss.make(tunnels=...) is refused",
    ),
    Capability(lib.VC_CAP_FDIR_PF, "FDIR_PF", "flow director rules", "no flow rules"),
    Capability(lib.VC_CAP_QOS, "QOS", "traffic classes and rate limits", "no rate limits"),
    Capability(lib.VC_CAP_DCF, "DCF", "control of the PF's switch", "no switch control"),
    Capability(lib.VC_CAP_PTP, "PTP", "clock and receive timestamps", "no hardware timestamps"),
)

# What the driver asks for: only what it uses. USO is among them because i40e takes the default MAC
# address away from a VF that does not ask for it (docs/spec/virtchnl.md 4), and ADV_RSS_PF because
# the answer tells which remedy there is for traffic in one queue (docs/adr/0010).
WANTED: Final[int] = (
    lib.VC_CAP_L2
    | lib.VC_CAP_WB_ON_ITR
    | lib.VC_CAP_REQ_QUEUES
    | lib.VC_CAP_ADV_LINK_SPEED
    | lib.VC_CAP_VLAN_V2
    | lib.VC_CAP_VLAN
    | lib.VC_CAP_RSS_PF
    | lib.VC_CAP_RX_FLEX_DESC
    | lib.VC_CAP_ADV_RSS_PF
    | lib.VC_CAP_USO
)


# What is asked for when a PF refuses the request for all of WANTED: what a PF takes a VF of version
# 1.0 to have asked for (docs/spec/virtchnl.md 1). A port works without the rest.
ESSENTIAL: Final[int] = lib.VC_CAP_L2 | lib.VC_CAP_VLAN


@dataclass(frozen=True, slots=True)
class CapabilityReport:
    """Asked and granted words. A PF may grant what was not asked (i40e: ADV_LINK_SPEED).

    All that is asked for is used; docs/guides/negotiation.md says why the rest is not.
    """

    asked: int
    granted: int

    def has(self, bit: int) -> bool:
        """Says whether `bit` (VC_CAP_*) was granted."""
        return bool(self.granted & bit)

    def require(self, message: AnyMessage) -> None:
        """Raises NotGranted unless the capability that unlocks a message was granted."""
        if message.gate & ~self.granted:
            missing = next(cap for cap in CAPABILITIES if cap.bit == message.gate)
            raise NotGranted(
                f"{message.name} needs {missing.name}, which the PF did not grant",
                missing.without,
            )

    @property
    def asked_list(self) -> tuple[Capability, ...]:
        """What was asked for, in order of bits."""
        return tuple(cap for cap in CAPABILITIES if cap.bit & self.asked)

    @property
    def granted_list(self) -> tuple[Capability, ...]:
        """What was granted, in order of bits."""
        return tuple(cap for cap in CAPABILITIES if cap.bit & self.granted)

    @property
    def denied(self) -> tuple[Capability, ...]:
        """What was asked for and not granted."""
        return tuple(cap for cap in CAPABILITIES if cap.bit & self.asked & ~self.granted)

    @property
    def unasked(self) -> tuple[Capability, ...]:
        """What was granted although it was not asked for."""
        return tuple(cap for cap in CAPABILITIES if cap.bit & self.granted & ~self.asked)

    def __str__(self) -> str:
        lines = [f"capabilities asked {self.asked:#010x}, granted {self.granted:#010x}"]
        for cap in self.granted_list:
            how = f"{cap.gives} (not asked for)" if cap in self.unasked else cap.gives
            lines.append(f"  granted {cap.name:<15} {how}")
        lines += [f"  denied  {cap.name:<15} {cap.without}" for cap in self.denied]
        return "\n".join(lines)


def cap_names(word: int) -> str:
    """Names of the bits of a capability word, for a log line."""
    known = [cap.name for cap in CAPABILITIES if cap.bit & word]
    rest = word & ~sum(cap.bit for cap in CAPABILITIES)
    return " ".join([*known, *([f"{rest:#x}"] if rest else [])]) or "none"
