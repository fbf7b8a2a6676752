# SPDX-License-Identifier: BSD-3-Clause
"""What the PF holds of a VF: the record against which settings are compared.

A VF cannot ask its PF for most of this, so that everything a PF has accepted is written down here,
item by item. A reset makes the PF forget it: each negotiation begins a new record
(docs/spec/virtchnl.md 8).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iavfio.virtchnl.messages.rss import HashFunction
from iavfio.virtchnl.messages.rss_rules import Header


@dataclass(frozen=True)
class Rule:
    """A rule for RSS: of which tunnel (iavfio.port.tunnels), headers and function."""

    tunnel: str
    headers: tuple[Header, ...]
    function: HashFunction


@dataclass
class PfState:
    """Values that the PF has accepted since the VF's last reset; None where nobody knows.

    `macs`: unicast and multicast filters, the PF's own address for the VF included. `primary`: the
    one that was last added as the VF's own. `doubtful`: filters of requests without an answer.
    `vectors`: vector number -> bitmap of queue pairs. `hash_types`: the packet classes that the PF
    can hash, once it was asked. `rss_rules`: whether a rule is in force, False while nobody knows.
    `sampled`: whether it was asked for its counters. `kept` and `missing`: addresses that it did
    not delete, or not take back after a refused change, and why.
    """

    macs: list[bytes] = field(default_factory=list)
    primary: bytes | None = None
    doubtful: set[bytes] = field(default_factory=set)
    promiscuity: tuple[bool, bool] | None = (False, False)
    rss_key: bytes | None = None
    rss_table: bytes | None = None
    hash_function: HashFunction | None = HashFunction.TOEPLITZ
    hash_fields: int | None = None
    hash_types: int | None = None
    rss_rules: dict[Rule, bool] = field(default_factory=dict)
    vlan_stripping: bool | None = None
    vectors: dict[int, int] = field(default_factory=dict)
    sampled: bool = False
    kept: dict[bytes, str] = field(default_factory=dict)
    missing: dict[bytes, str] = field(default_factory=dict)

    @property
    def tunnels(self) -> frozenset[str]:
        """Tunnels whose rules the PF has taken, all of them."""
        lacking = {rule.tunnel for rule, taken in self.rss_rules.items() if not taken}
        return frozenset(rule.tunnel for rule in self.rss_rules) - lacking

    def doubt_rules(self) -> None:
        """The PF may have thrown its rules away: wanted ones are made again, others taken back."""
        self.rss_rules = dict.fromkeys(self.rss_rules, False)

    @classmethod
    def after_reset(cls, mac: bytes | None) -> PfState:
        """The record of a PF that has just reset the VF; `mac` is the address that it tells."""
        return cls(macs=[] if mac is None else [mac], primary=mac)
