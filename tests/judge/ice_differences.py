# SPDX-License-Identifier: BSD-3-Clause
"""Where the software PF does otherwise than the judge, each with its reason.

A difference that no row explains fails the tests, and so does a row that explains none
(docs/spec/pf-dialects.md 7).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from iavfio.linuxpf.kernel_source import NEWEST
from iavfio.linuxpf.process import Reply
from iavfio.softvf._device import lib
from tests.judge.ice_pair import EVENT, Host, Say, Step
from tests.judge.ice_programmed import CLASSES

CONFIG_VSI_QUEUES, RESET_VF, REQUEST_QUEUES, STRIP = 6, 2, 29, 54
CONFIG_IRQ_MAP, CONFIG_PROMISCUOUS_MODE, ADD_ETH_ADDR = 7, 14, 10
ADD_VLANS = (12, 52)
ADD_RSS_CFG, DEL_RSS_CFG = 45, 46
RULE_HEADERS, RULE_HEADER = 8, 72  # bytes before the headers of a rule, and of one
TRANSPORTS = {6, 7, 8}  # types of headers
GTPU = {9, 10, 11, 12}
NAT_T = {7, 15}
CONFIG_RSS_HFUNC, SET_RSS_HASHCFG = 18, 26
TOEPLITZ_SYMMETRIC = struct.pack("<H", 2)  # behind the VSI's number
ELEMENT, HEADER = 64, 8  # bytes of a queue pair, before the first
QUEUE_AT, RX_LENGTH_AT = 2, 28  # in a pair
MAP = struct.Struct("<6H")  # of CONFIG_IRQ_MAP: VSI, vector, Rx queues, Tx queues, their ITRs
MAPS_AT, ADDRESSES_AT, ADDRESS = 2, 4, 8  # bytes before the maps; before addresses, of one
SWITCH_HOLDS = 64  # addresses of a VF, in the software PF
PORTS = lib.SOFTVF_OF_SRC_PORT | lib.SOFTVF_OF_DST_PORT
KERNELS = ("6.1", "6.12", NEWEST)
# The packet class of a rule of these headers and fields that ice would make for it.
CLASS_OF = MappingProxyType(
    {
        (ip | transport, lib.SOFTVF_OF_IP_SRC | lib.SOFTVF_OF_IP_DST | ports): bit
        for ip, bits in ((lib.SOFTVF_HAS_IPV4, CLASSES[:4]), (lib.SOFTVF_HAS_IPV6, CLASSES[4:]))
        for bit, transport, ports in (
            (bits[0], 0, 0),
            (bits[1], lib.SOFTVF_HAS_TCP, PORTS),
            (bits[2], lib.SOFTVF_HAS_UDP, PORTS),
            (bits[3], lib.SOFTVF_HAS_SCTP, PORTS),
        )
    }
)
RESETTING = ("flr", "flags")  # always; other deeds only when they change something
RESET_IMPENDING = struct.pack("<I", 2)  # how the event begins


def resets(step: Step, replies: Sequence[Reply]) -> bool:
    """Whether the VF is reset by this step, which ice answered so."""
    if isinstance(step, Say):
        granted = step.opcode == REQUEST_QUEUES and not _is_answered(step, replies)
        return step.opcode == RESET_VF or granted
    announced = (payload for opcode, _, payload in replies if opcode == EVENT)
    return step.deed in RESETTING or any(map(_is_impending, announced))


def _is_answered(step: Say, replies: Sequence[Reply]) -> bool:
    return bool(replies) and replies[0][0] == step.opcode


def _is_impending(event: bytes) -> bool:
    return event.startswith(RESET_IMPENDING)


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
            if resets(step, replies):
                said = []
            if isinstance(step, Say) and _is_answered(step, replies):
                said.append((step, replies[0][1]))
        return said


@dataclass(frozen=True)
class Row:
    """One kind of difference: its name, where it shows, the functions of Linux that do it, why.

    It shows in these VLAN modes (True: double) and kernels, and in replies only where that is said:
    then `explains` looks at both.
    """

    name: str
    explains: Callable[[Exchange], bool]
    function: str
    reason: str
    modes: tuple[bool, ...] = (False, True)
    kernels: tuple[str, ...] = KERNELS
    in_replies: bool = False


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


def _maps(exchange: Exchange) -> list[tuple[int, int, int, int, int]]:
    """Vector, Rx queues, Tx queues and their ITRs of each map since the last reset, in order."""
    found = []
    for step, _ in exchange.since_reset():
        if step.opcode == CONFIG_IRQ_MAP and len(step.payload) >= MAPS_AT:
            whole = (len(step.payload) - MAPS_AT) // MAP.size * MAP.size
            maps = MAP.iter_unpack(step.payload[MAPS_AT : MAPS_AT + whole])
            found += [each[1:] for each in maps]
    return found


def _has_an_itr_of_its_own(exchange: Exchange) -> bool:
    """Queues that their vector's last map left out are moderated as an earlier map said."""
    if not exchange.effects or not exchange.effects.keys() <= {"rx_causes", "tx_causes"}:
        return False
    for name, (real, soft) in exchange.effects.items():
        if real.keys() != soft.keys():
            return False
        which = 1 if name == "rx_causes" else 2
        for queue in (queue for queue in real if real[queue] != soft[queue]):
            (vector, own), (other_vector, shared) = real[queue], soft[queue]
            maps = [each for each in _maps(exchange) if each[0] == vector]
            naming = [each[which + 2] for each in maps if each[which] >> queue & 1]
            without = [each[which + 2] for each in maps if not each[which] >> queue & 1]
            if vector != other_vector or own not in naming or shared not in without:
                return False
    return True


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
    """What this step switches off is on still on ice's card, where VLANs came meanwhile."""
    flags, step = exchange.effects, exchange.step
    if not isinstance(step, Say) or step.opcode != CONFIG_PROMISCUOUS_MODE or len(step.payload) < 4:
        return False
    (wanted,) = struct.unpack_from("<H", step.payload, 2)
    off = {name for bit, name in enumerate(("unicast", "multicast")) if not wanted >> bit & 1}
    return (
        bool(flags)
        and flags.keys() <= off
        and all(real and not soft for real, soft in flags.values())
        and any(step.opcode in ADD_VLANS for step, _ in exchange.since_reset())
    )


def _hears_a_vlan(exchange: Exchange) -> bool:
    """A VLAN that is added while groups are heard brings all of its frames in."""
    if _opcode(exchange) not in ADD_VLANS or exchange.effects != {"unicast": (True, False)}:
        return False
    steps = [step for step, _ in exchange.before]
    flags = [step.value for step in steps if isinstance(step, Host) and step.deed == "flags"]
    wanted = [
        struct.unpack_from("<H", step.payload, 2)[0]
        for step, status in exchange.since_reset()
        if step.opcode == CONFIG_PROMISCUOUS_MODE and not status
    ]
    return bool(flags) and "true_promisc" in flags[-1] and bool(wanted) and wanted[-1] == 2


def _fills_the_switch(exchange: Exchange) -> bool:
    """More addresses than the software PF's switch holds were named, and it took none of these."""
    if _opcode(exchange) != ADD_ETH_ADDR or exchange.status != (0, -53):
        return False
    if not exchange.effects.keys() <= {"macs"}:
        return False
    real, soft = exchange.effects.get("macs", (frozenset(), frozenset()))
    named: set[bytes] = set()
    for step, _ in exchange.since_reset():
        if step.opcode == ADD_ETH_ADDR:
            rest = step.payload[ADDRESSES_AT:]
            named |= {rest[at : at + 6] for at in range(0, len(rest) - ADDRESS + 1, ADDRESS)}
    return soft <= real and len(named) >= SWITCH_HOLDS


def _grants_no(exchange: Exchange, *opcodes: int) -> bool:
    """The software PF refuses the message, which changes nothing of what is compared."""
    opcode = _opcode(exchange)
    refused = len(exchange.soft) == 1 and exchange.soft[0] == (opcode, -64, b"")
    return opcode in opcodes and refused and not exchange.effects


def _lost_its_symmetry(exchange: Exchange) -> bool:
    """Classes were chosen after the symmetric function."""
    if exchange.effects != {"symmetric": (False, True)}:
        return False
    said = [step for step, _ in exchange.since_reset()]
    chosen = [
        at
        for at, step in enumerate(said)
        if step.opcode == CONFIG_RSS_HFUNC and step.payload[2:4] == TOEPLITZ_SYMMETRIC
    ]
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
    """A rule that is made or deleted has changed how the VF's symmetric rules hash.

    What hashes otherwise is no class any more and stands among the rules, which are there in their
    order.
    """
    effects = exchange.effects
    if not _pattern(exchange) or "symmetric" not in effects:
        return False
    if not effects.keys() <= {"symmetric", "rules", "classes"}:
        return False
    real_classes, soft_classes = effects.get("classes", (frozenset(), frozenset()))
    real, soft = effects.get("rules", ((), ()))
    rest = iter([(rule.headers, rule.fields) for rule in real])
    in_order = all((rule.headers, rule.fields) in rest for rule in soft)
    return bool(in_order and real_classes <= soft_classes)


def _has_classes_before_rules(exchange: Exchange) -> bool:
    """What ice has before its last rule, and the software PF behind all, are classes made anew."""
    effects = exchange.effects
    if {*effects} != {"rules", "classes"} or not _makes_classes_anew(exchange):
        return False
    (real, soft), (real_classes, soft_classes) = effects["rules"], effects["classes"]
    rest = iter(soft)
    wanted = next(rest, None)
    early: set[int | None] = set()
    for rule in real:
        if wanted is not None and rule == wanted:
            wanted = next(rest, None)
        elif wanted is not None:
            early.add(CLASS_OF.get((rule.headers, rule.fields)))
        else:
            return False
    return wanted is None and None not in early and real_classes == soft_classes - early


def _makes_classes_anew(exchange: Exchange) -> bool:
    """Whether this step may change the hash function or resets the VF."""
    step = exchange.step
    chooses = isinstance(step, Say) and step.opcode == CONFIG_RSS_HFUNC
    return chooses or resets(step, exchange.ice)


ROWS = (
    Row(
        "flow director",
        lambda exchange: _grants_no(exchange, 47, 48),
        "ice_vc_add_fdir_fltr, ice_vc_del_fdir_fltr",
        "ice serves ADD_FDIR_FILTER and DEL_FDIR_FILTER; the software PF grants no flow director",
        in_replies=True,
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
        lambda exchange: _grants_no(exchange, 60, 61, 66, 112, 113),
        "ice_vc_get_qos_caps, ice_vc_cfg_q_bw, ice_vc_get_phc_time",
        "ice serves QoS and PTP to a VF that asks; the software PF grants neither, since its "
        "scheduler has no rates of queues and its card no clock",
        kernels=(NEWEST,),
        in_replies=True,
    ),
    Row(
        "a full switch",
        _fills_the_switch,
        "ice_vc_add_mac_addr",
        "the software PF's switch holds 64 addresses of a VF; the judge's firmware has room for "
        "everything",
        in_replies=True,
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
        "groups of a VLAN",
        _hears_a_vlan,
        "ice_vf_ena_vlan_promisc",
        "with true promiscuity, a VLAN that is added while the VF hears all groups is promiscuous "
        "for every frame of it to 6.12; the software PF hears the groups of all VLANs, as 7.3 does",
        modes=(False,),
        kernels=("6.1", "6.12"),
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
    alike = exchange.ice == exchange.soft
    rows = (row for row in ROWS if exchange.kernel in row.kernels and (alike or row.in_replies))
    return next((row for row in rows if row.explains(exchange)), None)


def too_much(exchange: Exchange) -> str | None:
    """What else a row would explain that explains this; None when it is as narrow as it should be.

    Another status of the software PF's, silence and another rate have nothing to do with any row.
    """
    others = {
        "another status": replace(exchange, soft=[(_opcode(exchange), -99, b"")]),
        "silence": replace(exchange, soft=[]),
        "another rate": replace(exchange, effects=exchange.effects | {"rate": (1, 2)}),
    }
    for what, other in others.items():
        if other != exchange and (row := explain(other)):
            return f"{row.name} explains {what} as well"
    return None
