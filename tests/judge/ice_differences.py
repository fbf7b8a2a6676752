# SPDX-License-Identifier: BSD-3-Clause
"""Where the software PF does otherwise than the judge, each with its reason.

A difference that no row explains fails the tests, and so does a row that explains none
(docs/spec/pf-dialects.md 7).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from iavfio.linuxpf.kernel_source import NEWEST
from iavfio.linuxpf.process import Reply
from tests.judge.ice_pair import Say, Step

CONFIG_VSI_QUEUES, RESET_VF, REQUEST_QUEUES, STRIP = 6, 2, 29, 54
ADD_VLANS = (12, 52)
ADD_RSS_CFG, DEL_RSS_CFG = 45, 46
RULE_HEADERS, RULE_HEADER = 8, 72  # bytes before the headers of a rule, and of one
TRANSPORTS = {6, 7, 8}  # types of headers
GTPU = {9, 10, 11, 12}
NAT_T = {7, 15}
SET_RSS_HASHCFG, SYMMETRIC = 26, Say(18, struct.pack("<HHI", 1, 2, 0))
ELEMENT, HEADER = 64, 8  # bytes of a queue pair, before the first
QUEUE_AT, RX_LENGTH_AT = 2, 28  # in a pair
KERNELS = ("6.1", "6.12", NEWEST)
RESETTING = ("flr", "flags", "trust", "mac", "vlan")


@dataclass(frozen=True)
class Exchange:
    """One step, what both answered and did otherwise, and the steps before with their replies."""

    kernel: str
    before: Sequence[tuple[Step, Sequence[Reply]]]
    step: Step
    ice: Sequence[Reply]
    soft: Sequence[Reply]
    effects: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def status(self) -> tuple[int | None, int | None]:
        """The status of the first reply of each side."""
        first = [replies[0][1] if replies else None for replies in (self.ice, self.soft)]
        return first[0], first[1]

    def since_reset(self) -> Iterable[tuple[Say, int]]:
        """Messages since the last reset that were answered, with the status; this one is last."""
        said: list[tuple[Say, int]] = []
        for step, replies in (*self.before, (self.step, self.ice)):
            if isinstance(step, Say):
                answered = bool(replies) and replies[0][0] == step.opcode
                if step.opcode == RESET_VF or (step.opcode == REQUEST_QUEUES and not answered):
                    said = []
                if answered:
                    said.append((step, replies[0][1]))
            elif step.deed in RESETTING:
                said = []
        return said


@dataclass(frozen=True)
class Row:
    """One kind of difference: its name, where it shows, the functions of Linux that do it, why.

    It shows in these VLAN modes (True: double) and kernels.
    """

    name: str
    explains: Callable[[Exchange], bool]
    function: str
    reason: str
    modes: tuple[bool, ...] = (False, True)
    kernels: tuple[str, ...] = KERNELS


def _opcode(exchange: Exchange) -> int:
    return exchange.step.opcode if isinstance(exchange.step, Say) else 0


def _configured(exchange: Exchange) -> set[int]:
    """Queues whose receive side a CONFIG_VSI_QUEUES has set up since the last reset."""
    named: set[int] = set()
    for step, status in exchange.since_reset():
        if step.opcode != CONFIG_VSI_QUEUES or status:
            continue
        (count,) = struct.unpack_from("<H", step.payload, 2)
        for at in range(HEADER, HEADER + count * ELEMENT, ELEMENT):
            (length,) = struct.unpack_from("<H", step.payload, at + RX_LENGTH_AT)
            named |= {step.payload[at + QUEUE_AT]} if length else set()
    return named


def _runs_by_an_old_context(exchange: Exchange) -> bool:
    """Only queues that nobody configured since the reset run more on ice."""
    if not exchange.effects or not exchange.effects.keys() <= {"rx"}:
        return False
    named = _configured(exchange)
    return all(
        soft.items() <= real.items() and not named & (real.keys() - soft.keys())
        for real, soft in exchange.effects.values()
    )


def _has_an_old_format(exchange: Exchange) -> bool:
    """Queues receive alike but for the descriptor format, which a refused request had named."""
    if {*exchange.effects} != {"rx"}:
        return False
    real, soft = exchange.effects["rx"]
    said = exchange.since_reset()
    refused = any(step.opcode == CONFIG_VSI_QUEUES and status for step, status in said)
    return (
        refused
        and real.keys() == soft.keys()
        and all(queue == replace(soft[number], rxdid=queue.rxdid) for number, queue in real.items())
    )


def _has_an_itr_of_its_own(exchange: Exchange) -> bool:
    """Queues are on the same vectors, and some are moderated otherwise."""
    causes = exchange.effects
    return (
        bool(causes)
        and causes.keys() <= {"rx_causes", "tx_causes"}
        and all(
            {queue: vector for queue, (vector, _) in real.items()}
            == {queue: vector for queue, (vector, _) in soft.items()}
            for real, soft in causes.values()
        )
    )


def _strips_two_tags(exchange: Exchange) -> bool:
    """Both the outer and the inner tag were to be stripped."""
    if {*exchange.effects} != {"strip"}:
        return False
    settings = [
        struct.unpack_from("<II", step.payload)
        for step, status in exchange.since_reset()
        if step.opcode == STRIP and not status
    ]
    return any(outer for outer, _ in settings) and any(inner for _, inner in settings)


def _stays_promiscuous(exchange: Exchange) -> bool:
    """ice's card stays promiscuous, where VLANs came meanwhile."""
    flags = exchange.effects
    return (
        bool(flags)
        and flags.keys() <= {"unicast", "multicast"}
        and all(real and not soft for real, soft in flags.values())
        and any(step.opcode in ADD_VLANS for step, _ in exchange.since_reset())
    )


def _lost_its_symmetry(exchange: Exchange) -> bool:
    """Classes were chosen after the symmetric function."""
    if exchange.effects != {"symmetric": (False, True)}:
        return False
    said = [step for step, _ in exchange.since_reset()]
    chosen = [at for at, step in enumerate(said) if step == SYMMETRIC]
    return bool(chosen) and any(step.opcode == SET_RSS_HASHCFG for step in said[chosen[0] :])


def _pattern(exchange: Exchange) -> set[int]:
    """Types of the headers of a rule for RSS that is made or deleted in this step."""
    if _opcode(exchange) not in (ADD_RSS_CFG, DEL_RSS_CFG) or not isinstance(exchange.step, Say):
        return set()
    (count,) = struct.unpack_from("<I", exchange.step.payload, 4)
    places = range(RULE_HEADERS, RULE_HEADERS + min(count, 32) * RULE_HEADER, RULE_HEADER)
    return {struct.unpack_from("<I", exchange.step.payload, at)[0] for at in places}


def _is_in_the_place_of_a_class(exchange: Exchange) -> bool:
    """The rule has the headers of a packet class, which is gone, or it is the class."""
    if not exchange.effects or not exchange.effects.keys() <= {"classes", "rules"}:
        return False
    real, soft = exchange.effects.get("classes", (frozenset(), frozenset()))
    return bool(_pattern(exchange) & TRANSPORTS) and real <= soft


def _is_beyond_the_data_plane(exchange: Exchange) -> bool:
    """Only the rule of this step is missing: of what is inside GTP-U, or of ESP in UDP."""
    if {*exchange.effects} != {"rules"}:
        return False
    real, soft = exchange.effects["rules"]
    pattern = _pattern(exchange)
    return real == soft[1:] and bool(pattern & GTPU or pattern >= NAT_T)


def _changes_the_function(exchange: Exchange) -> bool:
    """A rule that is made or deleted has changed how the VF's symmetric rules hash."""
    return bool(_pattern(exchange)) and "symmetric" in exchange.effects


def _has_classes_before_rules(exchange: Exchange) -> bool:
    """ice has all rules of the software PF's, in their order, and classes before some of them."""
    effects = exchange.effects
    if "rules" not in effects or not effects.keys() <= {"rules", "classes"}:
        return False
    real, soft = effects["rules"]
    rest = iter(real)
    return len(soft) > 0 and len(real) > len(soft) and all(rule in rest for rule in soft)


ROWS = (
    Row(
        "flow director",
        lambda exchange: _opcode(exchange) in (47, 48),
        "ice_vc_add_fdir_fltr, ice_vc_del_fdir_fltr",
        "ice serves ADD_FDIR_FILTER and DEL_FDIR_FILTER; the software PF grants no flow director",
    ),
    Row(
        "symmetry of chosen classes",
        _lost_its_symmetry,
        "ice_add_avf_rss_cfg",
        "SET_RSS_HASHCFG makes profiles that are not symmetric, whatever the VF's function is, and "
        "the same function again changes nothing; the software PF's classes go by the function",
        kernels=("6.12", NEWEST),
    ),
    Row(
        "a rule in the place of a class",
        _is_in_the_place_of_a_class,
        "ice_add_rss_cfg_wrap, ice_rem_rss_cfg_wrap",
        "to 7.3 a rule for TCP, UDP or SCTP over IP has the headers of the packet class: it takes "
        "its place, and leaves none when it is deleted; the software PF has both",
        kernels=(NEWEST,),
    ),
    Row(
        "rules inside tunnels",
        _is_beyond_the_data_plane,
        "ice_vc_parse_rss_cfg",
        "7.3 hashes the addresses inside GTP-U, and knows ESP in UDP for what it is; the data "
        "plane does neither and notes it",
        kernels=(NEWEST,),
    ),
    Row(
        "the function of a rule",
        _changes_the_function,
        "ice_vc_rss_hash_update",
        "7.3 gives the VF the symmetric function with each rule that is made, which makes those "
        "symmetric that want it, and the plain one with each that is deleted; the software PF "
        "leaves that to CONFIG_RSS_HFUNC",
        kernels=(NEWEST,),
    ),
    Row(
        "classes before rules",
        _has_classes_before_rules,
        "ice_set_rss_hfunc, ice_vsi_set_vf_rss_flow_fld",
        "ice makes a packet class's profile anew after a change of the hash function and after a "
        "reset that changes the class, so that it is newer than a rule which stays as it is, and "
        "packets of both go by the class; the software PF has all classes behind all rules",
        kernels=("6.12", NEWEST),
    ),
    Row(
        "rates of queues and the clock",
        lambda exchange: _opcode(exchange) in (60, 61, 66, 112, 113),
        "ice_vc_get_qos_caps, ice_vc_cfg_q_bw, ice_vc_get_phc_time",
        "ice serves QoS and PTP to a VF that asks; the software PF grants neither, since its "
        "scheduler has no rates of queues and its card no clock",
        kernels=(NEWEST,),
    ),
    Row(
        "a full switch",
        lambda exchange: _opcode(exchange) == 10 and exchange.status == (0, -53),
        "ice_vc_add_mac_addr",
        "the software PF's switch holds 64 addresses of a VF; the judge's firmware has room for "
        "everything",
    ),
    Row(
        "an old context",
        _runs_by_an_old_context,
        "ice_vc_ena_qs_msg",
        "a queue that is enabled without a CONFIG_VSI_QUEUES that succeeded receives by the "
        "context that its last user left in the card's registers; the software PF has it stand "
        "still and notes a violation",
    ),
    Row(
        "an old format",
        _has_an_old_format,
        "ice_setup_rx_ctx",
        "a CONFIG_VSI_QUEUES that is refused for its rxdid leaves the queue's context in the card. "
        "ice_setup_rx_ctx of 6.12 wrote format 1 with it, that of 7.3 writes none, so that a queue "
        "that is enabled all the same has the format of its last user",
        kernels=(NEWEST,),
    ),
    Row(
        "an ITR of its own",
        _has_an_itr_of_its_own,
        "ice_cfg_interrupt",
        "on ice each queue has an ITR index of its own, so one that its vector's next map does not "
        "name keeps the one that it had; on the software card a vector has one for each direction",
    ),
    Row(
        "promiscuity of a VLAN",
        _stays_promiscuous,
        "ice_vf_get_promisc_masks",
        "ice switches promiscuity off for the VLANs that the VF has at that moment, or for all "
        "when it has none: what was on for others stays on (ice_vf_get_promisc_masks). On the "
        "software PF promiscuity is of all VLANs, and off is off",
        modes=(False,),
    ),
    Row(
        "two tags",
        _strips_two_tags,
        "ice_vc_ena_vlan_stripping_v2_msg",
        "in double VLAN mode ice strips the outer and the inner tag at once, into two fields of "
        "the descriptor; the software card strips one, the one that was named last",
        modes=(True,),
    ),
)


def explain(exchange: Exchange) -> Row | None:
    """The row of a difference; None when nobody has said why it is there."""
    rows = (row for row in ROWS if exchange.kernel in row.kernels)
    return next((row for row in rows if row.explains(exchange)), None)
