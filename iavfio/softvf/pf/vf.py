# SPDX-License-Identifier: BSD-3-Clause
"""What the PF's driver remembers of one VF, and what of it a reset forgets.

See docs/spec/virtchnl.md 8.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.vf_config import HashRule

if TYPE_CHECKING:
    from iavfio.softvf.contract import Timer, VfHardware

ZERO_MAC = bytes(6)
BROADCAST = b"\xff" * 6
SWITCH_MACS = 64  # what the switch holds for one VF
# Where a tag that is stripped is told.
STRIPPED: Mapping[str, str] = MappingProxyType({"outer": "l2tag2_2", "inner": "l2tag1"})


class Phase(Enum):
    """Where a VF stands with its PF."""

    INIT = "init"  # reset done, RSTAT = VFACTIVE, GET_VF_RESOURCES not asked yet
    ACTIVE = "active"
    RESETTING = "resetting"
    DISABLED = "disabled"  # by MDD or too many invalid messages
    GONE = "gone"  # the PF's driver was unloaded


NEXT: Mapping[Phase, frozenset[Phase]] = MappingProxyType(
    {
        Phase.INIT: frozenset({Phase.ACTIVE, Phase.RESETTING, Phase.DISABLED, Phase.GONE}),
        Phase.ACTIVE: frozenset({Phase.RESETTING, Phase.DISABLED, Phase.GONE}),
        # Only the end of a reset leads out of RESETTING: a VF that acts early finds nothing set up.
        Phase.RESETTING: frozenset({Phase.INIT, Phase.GONE}),
        # A stopped VF must be reset by somebody whom the PF trusts before it may talk again.
        Phase.DISABLED: frozenset({Phase.RESETTING, Phase.GONE}),
        # A PF driver that comes back resets all its VFs first.
        Phase.GONE: frozenset({Phase.RESETTING}),
    }
)


@dataclass
class Offer:
    """A queue pair's halves as CONFIG_VSI_QUEUES left them."""

    tx: bool = False
    rx: bool = False
    keep_crc: bool = False
    rx_iova: int = 0  # of the ring


@dataclass
class Vf:
    """One VF. The first block survives resets, the administrator's part and the rest of it."""

    index: int
    hardware: VfHardware
    trusted: bool
    spoof_check: bool
    serves_early: bool = False  # i40e: a VF is active from the end of its reset on
    counts_on: bool = False  # ice after 6.1: over resets, and from one user to the next
    admin_mac: bytes | None = None
    port_vlan: int = 0
    link_mode: str = "auto"
    rate: int = 0  # Mbit/s that it may send, as the host asked; 0: no limit
    delay_us: int = 0  # that its frames take longer to the switch
    version: tuple[int, int] = (0, 0)  # kept: a VF need not say it again after a reset
    requested_pairs: int = 0  # REQUEST_QUEUES; both PFs keep it over an FLR
    own_mac: bytes = ZERO_MAC  # the last primary one: i40e's default_lan_addr, ice's hw_lan_addr

    phase: Phase = Phase.INIT
    disabled_why: str = ""
    num_queue_pairs: int = 0
    asked: int = 0
    caps: int = 0
    unlocked: int = 0  # every capability that was granted since the last reset: ice's allow-list
    default_mac: bytes = ZERO_MAC
    device_mac: bytes = ZERO_MAC  # ice's dev_lan_addr (ice_addresses.py)
    legacy_mac: bytes = ZERO_MAC  # ice: the last one added by a driver of the old kind
    legacy_since: float = -1e9  # and when, in seconds of the scheduler
    primary_mac: bytes = ZERO_MAC
    macs: list[bytes] = field(default_factory=list)
    leaving: set[bytes] = field(default_factory=set)  # deleted by a request that was refused
    vlans: set[int] = field(default_factory=set)
    vlan_count: int = 0  # i40e's num_vlan
    tagged: set[tuple[int, int]] = field(default_factory=set)  # VLAN V2: tpid, vid
    prunes_vlans: bool = False  # ice: filters hold back what it receives (ice_vlans.py)
    checks_vlans: bool = False  # ice: they hold back what it sends, if the spoof check is on
    every_vlan: bool = False  # ice: nothing is held back, whatever the VF says until a reset
    promisc_unicast: bool = False
    promisc_multicast: bool = False
    queues: dict[int, Offer] = field(default_factory=dict)
    pairs_in_use: int | None = None  # i40e: of the last CONFIG_VSI_QUEUES; None: all of the VF's
    rings: dict[tuple[int, bool], tuple[int, int]] = field(default_factory=dict)  # see queues.py
    rx_enabled: int = 0
    tx_enabled: int = 0
    rx_stopped: int = 0  # ice: by a refused CONFIG_VSI_QUEUES; they count as enabled all the same
    vector_maps: dict[int, tuple[int, int]] = field(default_factory=dict)  # Rx, Tx bitmaps
    rss_key: bytes = bytes(52)
    rss_lut: bytes = bytes(64)
    hashcfg: int = 0
    symmetric: bool = False  # what the VSI hashes by ...
    symmetric_chosen: bool = False  # ... and the last CONFIG_RSS_HFUNC: a rule by XOR is between
    rules: list[HashRule] = field(
        default_factory=list
    )  # for RSS, the last one first; ice keeps them
    strip: str = "none"
    strip_tpids: tuple[int, ...] = (0x8100,)
    insert_tpid: int = 0x8100
    insertion: bool = True
    vlan_v2_known: bool = False
    mdd_stopped: bool = False
    stats_start: tuple[int, ...] | None = None  # the counters at the first GET_STATS
    stalled: set[int] = field(default_factory=set)  # send queues, by a fault
    spoil: str = ""  # what a fault does to frames that it receives; outlives resets
    broken_reset: str = ""  # how its resets go wrong by a fault (broken_resets.py)
    backwards: int = 0  # by such a fault: what GET_STATS counts down from, 0 = it counts
    stale_ring: int = 0  # by such a fault: the receive ring of before
    late_timer: Timer | None = None  # of writes to that ring's buffers

    failures: int = 0
    resets: int = 0
    reset_timer: Timer | None = None
    reset_latency: float = 0.0  # milliseconds
    active_since: float = 0.0
    inbox: deque[tuple[int, bytes]] = field(default_factory=deque)
    inbox_timer: Timer | None = None
    stale: int = 0  # how many of the first in the inbox a reset has held back
    held_back: deque[tuple[int, bytes]] = field(default_factory=deque)  # by a reset, on ice
    flooded: bool = False
    dropped_first: bool = False
    stats_base: tuple[int, ...] = (0,) * 12

    def enter(self, phase: Phase) -> None:
        """Changes the phase; a change that NEXT does not list is a bug of the PF model."""
        if phase is not self.phase and phase not in NEXT[self.phase]:
            raise AssertionError(f"VF {self.index}: {self.phase.value} to {phase.value}")
        self.phase = phase

    def forget(self) -> None:
        """Frees what the PF frees in a reset: all that messages of the VF had set up but its rules.

        ice takes rules for RSS away with the VSI alone, which outlives resets (ice_rss_clean).
        """
        self.caps = self.unlocked = 0
        if not self.serves_early:  # i40e keeps the word that says how link speeds are told
            self.asked = 0
        self.macs, self.leaving = [], set()
        self.vlans, self.tagged = set(), set()
        self.vlan_count = 0
        self.promisc_unicast = self.promisc_multicast = False
        self.queues, self.rings, self.vector_maps, self.stalled = {}, {}, {}, set()
        self.pairs_in_use = None
        self.rx_enabled = self.tx_enabled = self.rx_stopped = 0
        self.symmetric = self.symmetric_chosen = False
        self.strip, self.strip_tpids = "none", (0x8100,)
        self.insert_tpid, self.insertion = 0x8100, True
        self.vlan_v2_known = self.mdd_stopped = self.flooded = False
        self.failures, self.disabled_why = 0, ""
        if not self.counts_on:
            self.stats_start = None
        self.default_mac = self.primary_mac = ZERO_MAC

    def has(self, cap: int) -> bool:
        """Whether a capability was granted."""
        return bool(self.caps & cap)

    def require_active(self) -> None:
        """Raises Refused unless GET_VF_RESOURCES was answered since the last reset.

        i40e serves a VF before that too (docs/spec/pf-dialects.md 2): only a violation is noted.
        """
        if self.phase is Phase.INIT and self.serves_early:
            self.hardware.violation(
                "docs/spec/virtchnl.md 7",
                "sent before GET_VF_RESOURCES: i40e serves it, ice would not",
            )
        elif self.phase is not Phase.ACTIVE:
            raise Refused(
                Status.PARAM,
                "sent before GET_VF_RESOURCES: the VF is not active",
                rule="docs/spec/virtchnl.md 7",
            )

    def require_cap(self, cap: int) -> None:
        """Raises Refused unless the last GET_VF_RESOURCES granted a capability.

        ice's allow-list remembers earlier ones (docs/spec/pf-dialects.md 1).
        """
        if not self.has(cap):
            raise Refused(Status.PARAM, "the last GET_VF_RESOURCES did not grant its capability")

    def until_wrong(self, first: int, second: int) -> tuple[int, int]:
        """What ice serves of two maps of queues, up to one that the VF does not have."""
        own = (1 << self.num_queue_pairs) - 1
        return first & own, 0 if first & ~own else second & own

    def require_vsi(self, vsi_id: int, own: int) -> None:
        """Raises Refused unless active and the message names the VF's VSI."""
        self.require_active()
        if vsi_id != own:
            raise Refused(
                Status.PARAM,
                f"vsi_id {vsi_id} is not the VF's, {own}",
                rule="docs/spec/virtchnl.md 1",
            )


def mac_text(mac: bytes) -> str:
    """Returns a MAC address as text, for log lines and answers."""
    return ":".join(f"{byte:02x}" for byte in mac)
