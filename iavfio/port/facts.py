# SPDX-License-Identifier: BSD-3-Clause
"""What is known of a port when somebody asks why it does not work, and what is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from iavfio.datapath.pair import QueuePair
from iavfio.port.kinds import Kind
from iavfio.port.sampling import Sent
from iavfio.port.trust import Trust
from iavfio.port.vlan_probe import VlanRule
from iavfio.stats import Snapshot

HOST = "on the host: ip link set PF vf N"


@dataclass(frozen=True)
class Finding:
    """One cause: a short `name`, what it is, what shows it, and the command that mends it."""

    name: str
    what: str
    evidence: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what}\n  seen: {self.evidence}\n  mend: {self.remedy}"


@dataclass(frozen=True)
class StrayFormat:
    """Receive descriptors of another format (RXDID, 0 = legacy) than the one asked for.

    `read`: packets are read in the format that came; otherwise they are dropped.
    """

    came: int
    asked: int
    read: bool

    @classmethod
    def of(cls, pairs: Iterable[QueuePair]) -> StrayFormat | None:
        """That of the first queue that has met any."""
        for pair in pairs:
            came, read = pair.stray_format()
            if came is not None:
                return cls(came, pair.rxdid, read)
        return None


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What the process of a port can find out about it.

    None where nothing is known: `reason` why it does not run, `closed` whether because its program
    has closed it; `own` and `foreign` whether the PF counted a probe from its own and from a
    foreign address as sent, `own_refused` whether it discarded the former; `absent`: addresses of
    `extra_macs` from which it discards; `vlans`: what it does with tags; `discarded_probes`: how
    many such frames its counters have; `busy`: its program sent all the while, so that no probe
    could be told from its frames; `stuck`: the device did not complete a probe; `stalled`:
    seconds since a send queue was found to stand still; `closing`: the PF has said that it goes;
    `trust`; `pf_error` what GET_STATS said; `pool_idle` and `pool_size` buffers; `max_frame` bytes
    without FCS; `stray`: descriptors that were not asked for; `kinds` of `sampled` frames that
    came; `sent`: a sample of those that went; `rss_left_out`: classes of packets that the settings
    do not hash; `rss_table_queues`: how many queues the table of the settings names, None for all;
    `rss_rules`: whether the PF takes rules for tunnels; `rss_tunnels`: those whose it has taken.
    """

    reason: str = ""
    closed: bool = False
    lost: bool = False
    own: bool | None = None
    own_refused: bool = False
    foreign: bool | None = None
    absent: tuple[bytes, ...] = ()
    vlans: VlanRule = "unknown"
    discarded_probes: int = 0
    busy: bool = False
    stuck: bool = False
    stalled: float | None = None
    closing: bool = False
    trust: Trust = "unknown"
    promiscuous: bool = False
    all_multicast: bool = False
    extra_macs: tuple[bytes, ...] = ()
    pf_error: str = ""
    pool_idle: int | None = None
    pool_size: int | None = None
    rss: bool = True
    max_frame: int | None = None
    stray: StrayFormat | None = None
    kinds: tuple[Kind, ...] = ()
    sampled: int = 0
    sent: Sent | None = None
    rss_left_out: tuple[str, ...] = ()
    rss_table_queues: int | None = None
    rss_rules: bool = False
    rss_tunnels: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Facts(Probed):
    """What is known of a port.

    `counts`: what its counters say now, or moved by while somebody watched.
    """

    counts: Snapshot


Check = Callable[[Facts], "Finding | None"]
