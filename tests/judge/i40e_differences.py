# SPDX-License-Identifier: BSD-3-Clause
"""Where the software X710 answers otherwise than i40e of Linux, each time with the reason.

A row explains an exchange when its test says so. test_i40e_differential.py fails for a difference
without a row and for a row without a difference.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from types import MappingProxyType
from typing import Any

from iavfio.linuxpf.kernel_source import NEWEST
from iavfio.softvf._device import ffi
from iavfio.softvf.pf.vf import SWITCH_MACS
from tests.judge.i40e_pair import (
    PAIRS,
    PF_VSI,
    Exchange,
    Step,
    configures_beyond,
    enables_beyond,
    vsi_places,
)

KERNELS = ("6.1", "6.12", NEWEST)


@dataclass(frozen=True)
class Difference:
    """One reviewed difference: kernels, the kernel's function that answers, why ours differs."""

    name: str
    kernels: tuple[str, ...]
    function: str
    reason: str
    explains: Callable[[Exchange], bool]
    of_others: bool = False  # what a step does to VFs that did not speak


GET_VF_RESOURCES, CONFIG_VSI_QUEUES, CONFIG_IRQ_MAP = 3, 6, 7
ADD_ETH_ADDR, DEL_ETH_ADDR, ADD_VLAN = 10, 11, 12
USO = 1 << 25
EVENT, REQUEST_QUEUES, ENABLE_CHANNELS, CONFIG_PROMISCUOUS_MODE = 17, 29, 30, 14
INVALID = (-22, -5)  # a wrong argument: now, and in 6.1
REFUSED = (-22, -10)  # DEL_ETH_ADDR of an address that is no filter: now, and in 6.1
# What is said of addresses once the VSI is taken for the VF's: in 6.1 of one that cannot be a
# filter or is none, and of one that the VF may not have.
ADDRESSES_REFUSED: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {ADD_ETH_ADDR: (-10, -1), DEL_ETH_ADDR: (-10,)}
)
QUEUES = ("rx_enabled", "tx_enabled", "rx", "tx")
# What a message sets for the VSI that it names.
SETS: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {
        7: ("rx_causes", "tx_causes"),
        **dict.fromkeys((8, 9), QUEUES),
        # A filter of a VLAN stands beside one of an address, and comes and goes with the only one.
        **dict.fromkeys((10, 11), ("macs", "default_mac", "vlans", "every_vlan")),
        **dict.fromkeys((12, 13), ("vlans",)),
        14: ("unicast", "multicast"),
        23: ("key",),
        24: ("lut",),
    }
)
VECTOR_MAP = struct.Struct("<6H")  # VSI, vector, queues of both directions, their ITR
ELEMENT, HEADER, QUEUE_AT = 64, 8, 2  # bytes of a queue pair, before the first, up to its number
VSI = 10  # VF 0's
MOST_PAIRS, LONGEST_RING, LARGEST_BUFFER, FRAMES = 16, 4096, 16256, range(64, 16384)


def _is_plain(pair: Any) -> bool:
    """Whether i40e takes a queue pair of VF 0's for sure."""
    tx, rx = pair.txq, pair.rxq
    return (
        tx.vsi_id == rx.vsi_id == VSI
        and tx.queue_id == rx.queue_id < PAIRS
        and tx.ring_len % 32 == rx.ring_len % 32 == 0
        and max(tx.ring_len, rx.ring_len) <= LONGEST_RING
        and not rx.splithdr_enabled
        and rx.databuffer_size <= LARGEST_BUFFER
        and rx.max_pkt_size in FRAMES
    )


def _before_the_refused(step: Step) -> set[int]:
    """Queues of a refused CONFIG_VSI_QUEUES that i40e set up before it came to the refused pair."""
    if step.opcode != CONFIG_VSI_QUEUES or len(step.payload) < HEADER:
        return set()
    vsi, count = struct.unpack_from("<HH", step.payload)
    whole = HEADER + (count + 1) * ELEMENT  # the message's struct has one pair more
    if vsi != VSI or count > MOST_PAIRS or len(step.payload) != whole:
        return set()
    message = ffi.from_buffer("struct vc_vsi_queue_config_info *", step.payload)
    plain = takewhile(_is_plain, (message.qpair[at] for at in range(count)))
    return {pair.txq.queue_id for pair in plain}


def _configured(exchange: Exchange) -> set[int]:
    """Queues that a CONFIG_VSI_QUEUES has set up since the last reset."""
    named: set[int] = set()
    for at_step, step in enumerate(exchange.before):
        if at_step in exchange.resets:
            named.clear()
        elif at_step in exchange.refused:
            named |= _before_the_refused(step)
        elif step.opcode == CONFIG_VSI_QUEUES and len(step.payload) > HEADER:
            (count,) = struct.unpack_from("<H", step.payload, 2)
            starts = range(HEADER + QUEUE_AT, len(step.payload) - 1, ELEMENT)[:count]
            named |= {struct.unpack_from("<H", step.payload, at)[0] for at in starts}
    return named


def _runs_by_an_old_context(exchange: Exchange) -> bool:
    """Only queues that nobody configured since the reset, or without a buffer, run more on i40e."""
    if exchange.unlike or exchange.real != exchange.soft:
        return False
    if not exchange.programmed.keys() <= {"rx", "tx"}:
        return False
    named, strangers = _configured(exchange), 0
    for side, (real, soft) in exchange.programmed.items():
        more = real.keys() - soft.keys()
        known = more & named
        if not soft.items() <= real.items() or (known and side == "tx"):
            return False
        if any(real[queue].buffer_size for queue in known):
            return False
        strangers += len(more - named)
    return strangers > 0


def _has_no_buffer(exchange: Exchange) -> bool:
    """Only queues whose buffers have no size run more on i40e."""
    if exchange.unlike or exchange.real != exchange.soft or {*exchange.programmed} != {"rx"}:
        return False
    real, soft = exchange.programmed["rx"]
    more = [queue for number, queue in real.items() if number not in soft]
    return soft.items() <= real.items() and not any(queue.buffer_size for queue in more)


def _lists(exchange: Exchange) -> list[tuple[int, frozenset[tuple[str, int]]]]:
    """Each vector and the causes that CONFIG_IRQ_MAP put on its list, since the last reset."""
    lists: list[tuple[int, frozenset[tuple[str, int]]]] = []
    for at_step, step in enumerate((*exchange.before, exchange.step)):
        if at_step in exchange.resets:
            lists.clear()
        elif step.opcode == CONFIG_IRQ_MAP and len(step.payload) > 2:
            end = 2 + (len(step.payload) - 2) // VECTOR_MAP.size * VECTOR_MAP.size
            for _, vector, rx, tx, *_ in VECTOR_MAP.iter_unpack(step.payload[2:end]):
                sides = (("rx_causes", rx), ("tx_causes", tx))
                queues = ((side, q) for side, bits in sides for q in range(16) if bits >> q & 1)
                lists.append((vector, frozenset(queues)))
    return lists


def _list_is_cut(exchange: Exchange) -> bool:
    """Causes are gone whose list held one that another vector's list has taken over."""
    if exchange.unlike or exchange.real != exchange.soft or not exchange.programmed:
        return False
    if not exchange.programmed.keys() <= {"rx_causes", "tx_causes"}:
        return False
    lists = _lists(exchange)
    for side, (real, soft) in exchange.programmed.items():
        if not real.items() <= soft.items():
            return False
        for queue in soft.keys() - real.keys():
            cut = any(
                (side, queue) in held and held & taken and vector != other
                for at, (vector, held) in enumerate(lists)
                for other, taken in lists[at + 1 :]
            )
            if not cut:
                return False
    return True


def _leaves_later(exchange: Exchange) -> bool:
    """i40e's switch still has addresses that a refusal, or GET_VF_RESOURCES, took off its list."""
    if exchange.unlike or exchange.real != exchange.soft or "macs" not in exchange.programmed:
        return False
    real, soft = exchange.programmed["macs"]
    with_the_last = {
        "vlans": frozenset(),
        "every_vlan": True,
    }  # filters of i40e's go with addresses
    for name, (_, left) in exchange.programmed.items():
        if name != "macs" and (soft or with_the_last.get(name) != left):
            return False
    if exchange.step.opcode == GET_VF_RESOURCES:
        asked = int.from_bytes(exchange.step.payload[:4], "little")
        return soft < real and len(real - soft) == 1 and not asked & USO
    refused = [status for opcode, status, _ in exchange.real if opcode == DEL_ETH_ADDR]
    gone = [mac.hex() for mac in real - soft]
    return (
        len(refused) == 1
        and refused[0] in REFUSED
        and soft < real
        and all(mac in exchange.step.payload.hex() for mac in gone)
    )


def _stays_promiscuous(exchange: Exchange) -> bool:
    """i40e's card stays promiscuous in what this step switches off, where VLANs came or went."""
    if exchange.unlike or exchange.real != exchange.soft:
        return False
    steps, step, flags = [*exchange.before, exchange.step], exchange.step, exchange.programmed
    off = {"unicast", "multicast"}
    if step.opcode == CONFIG_PROMISCUOUS_MODE and len(step.payload) >= 4:
        (wanted,) = struct.unpack_from("<H", step.payload, 2)
        off = {name for bit, name in enumerate(("unicast", "multicast")) if not wanted >> bit & 1}
    elif step.deed != "port_vlan":
        return False
    return (
        any(step.opcode == ADD_VLAN or step.deed == "port_vlan" for step in steps)
        and flags.keys() <= off
        and all(real and not soft for real, soft in flags.values())
    )


def _runs_beyond(exchange: Exchange) -> bool:
    """Queues that the VF enabled before it had them run on i40e in whatever context they have."""
    if exchange.real != exchange.soft or not exchange.unlike:
        return False
    if not exchange.unlike.keys() <= {"rx_enabled", "tx_enabled"}:
        return False
    if not exchange.programmed.keys() <= {"rx", "tx"}:
        return False
    more = all(real & soft == soft for real, soft in exchange.unlike.values())
    more &= all(soft.items() <= real.items() for real, soft in exchange.programmed.values())
    return more and enables_beyond(exchange.before)


def _fills_the_switch(exchange: Exchange) -> bool:
    """The VF has more addresses than the software PF's switch holds, which is full."""
    if exchange.unlike or exchange.real != exchange.soft or {*exchange.programmed} != {"macs"}:
        return False
    real, soft = exchange.programmed["macs"]
    return exchange.step.opcode == ADD_ETH_ADDR and soft < real and len(soft) == SWITCH_MACS


def _stops_beyond(exchange: Exchange) -> bool:
    """Queues of other VFs do not run any more, by the reset of one that configured too many."""
    if exchange.unlike or exchange.programmed or exchange.real != exchange.soft:
        return False
    if not exchange.is_reset and (exchange.step.deed, exchange.step.value) != ("link", "disable"):
        return False
    since = max(exchange.resets, default=-1) + 1
    said = [
        step
        for at, step in enumerate(exchange.before)
        if at not in exchange.refused and (at >= since or step.opcode == REQUEST_QUEUES)
    ]
    return configures_beyond(said) and all(
        held.keys() <= {"rx_enabled", "tx_enabled"}
        and served.keys() <= {"rx", "tx"}
        and all(real & soft == real for real, soft in held.values())
        and all(real.items() <= soft.items() for real, soft in served.values())
        for held, served in exchange.others.values()
    )


def _is_left_by_channels(exchange: Exchange, name: str, real: Any, soft: Any) -> bool:
    """Whether the reset may leave this: the VF's own address of those that it had, and no more.

    Queues that run are others', enabled before they were the VF's.
    """
    if name == "macs":
        return bool(real <= soft) and len(real) <= 1
    if name in QUEUES:
        return not real or enables_beyond(exchange.before)
    return name in ("pairs", "key", "lut", "hashcfg", "strip", "every_vlan") or not real


def _makes_channels(exchange: Exchange) -> bool:
    """i40e resets the VF and gives it 16 pairs, or counts them as its own and refuses then."""
    pairs, _ = exchange.unlike.get("pairs", (16, 16))
    if exchange.step.opcode != ENABLE_CHANNELS or pairs != 16:
        return False
    if exchange.real == exchange.soft:
        return {*exchange.unlike} == {"pairs"} and not exchange.programmed
    lost = [*exchange.unlike.items(), *exchange.programmed.items()]
    if not all(_is_left_by_channels(exchange, name, *both) for name, both in lost):
        return False
    refused = [[(ENABLE_CHANNELS, status, b"")] for status in INVALID]
    return [op for op, *_ in exchange.real] == [EVENT] and exchange.soft in refused


def _names_the_pf(exchange: Exchange) -> bool:
    """i40e takes a message that names the PF's own VSI, which the software PF refuses."""
    step = exchange.step
    named = {step.payload[at : at + 2] for at in vsi_places(step)}
    if step.deed is not None or struct.pack("<H", PF_VSI) not in named:
        return False
    if not exchange.real or not exchange.soft or exchange.real[1:] != exchange.soft[1:]:
        return False
    if not {*exchange.unlike, *exchange.programmed} <= set(SETS.get(step.opcode, ())):
        return False
    taken, told = exchange.real[0][:2], exchange.soft[0][:2]
    answers = [(step.opcode, status) for status in (0, *ADDRESSES_REFUSED.get(step.opcode, ()))]
    return taken in answers and told in [(step.opcode, status) for status in INVALID]


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "an old context",
        KERNELS,
        "i40e_vc_enable_queues_msg",
        "a queue that is enabled without a CONFIG_VSI_QUEUES that succeeded runs by the context "
        "that its last user left in the card's memory; the software PF has it stand still and "
        "notes a violation",
        _runs_by_an_old_context,
    ),
    Difference(
        "a buffer of no size",
        KERNELS,
        "i40e_config_vsi_rx_queue",
        "it takes a databuffer_size below 128, of which none is left in the context, and enables "
        "such a queue. What the silicon makes of it no source tells; the software card's queue "
        "stands still",
        _has_no_buffer,
    ),
    Difference(
        "a list that is cut",
        KERNELS,
        "i40e_config_irq_link_list",
        "the causes of a vector are a list through the registers of its queues: one that is mapped "
        "to a second vector as well takes the rest of the first one's list along. What the silicon "
        "makes of it no source tells; on the software PF the last vector has the queue, and the "
        "first keeps the others",
        _list_is_cut,
    ),
    Difference(
        "promiscuity of a VLAN",
        KERNELS,
        "i40e_config_vf_promiscuous_mode, i40e_ndo_set_vf_port_vlan",
        "i40e switches promiscuity on and off for the VLANs that the VF has at that moment, or for "
        "all when it has none: what was on for others stays on. After the reset by which it sets a "
        "port VLAN it makes the new VSI as promiscuous as the old one, and does not remember it. "
        "On the software PF promiscuity is of all VLANs, and off is off",
        _stays_promiscuous,
    ),
    Difference(
        "addresses leave later",
        KERNELS,
        "i40e_vc_del_mac_addr_msg, i40e_vc_get_vf_resources_msg",
        "a refused DEL_ETH_ADDR has taken the addresses before the unknown one off i40e's list, "
        "GET_VF_RESOURCES without USO the VF's own one, and the switch loses them at the next run "
        "of the service task, within a second, whose timer the judge does not play; the software "
        "PF's switch loses them at once",
        _leaves_later,
    ),
    Difference(
        "a full switch",
        KERNELS,
        "i40e_check_vf_permission",
        "the software PF's switch holds 64 addresses of a VF, the judge's firmware has room for "
        "everything that i40e lets a trusted VF have; both say success",
        _fills_the_switch,
    ),
    Difference(
        "queues of others",
        KERNELS,
        "i40e_ctrl_vf_rx_rings, i40e_ctrl_vf_tx_rings",
        "ENABLE_QUEUES turns on whatever queues lie behind the VF's, whosever they are. They stay "
        "on over resets, and run when a later REQUEST_QUEUES makes them this VF's, in the contexts "
        "that their last owner set; the software PF turns on none that is not the VF's",
        _runs_beyond,
    ),
    Difference(
        "queues of the next VF",
        KERNELS,
        "i40e_vsi_stop_rings, i40e_ndo_set_vf_link_state",
        "a reset and the administrator who disables the link stop as many queues as the last "
        "CONFIG_VSI_QUEUES had entries, which may be more than the VF has queues: those behind are "
        "another VF's. The software PF stops none that is not the VF's",
        _stops_beyond,
        of_others=True,
    ),
    Difference(
        "the PF's own VSI",
        KERNELS,
        "i40e_vc_isvalid_vsi_id",
        "i40e takes a VSI for a VF's when its vf_id is the VF's number, and that of the PF's own "
        "VSI is 0: VF 0 may name it, and sets its filters, promiscuity and RSS, and stops its "
        "queues. The software PF refuses a VSI that is not the VF's",
        _names_the_pf,
    ),
    Difference(
        "channels",
        KERNELS,
        "i40e_vc_add_qch_msg",
        "where the administrator has switched the spoof check off and ADQ was granted, "
        "ENABLE_CHANNELS resets the VF, which has 16 pairs then and a VSI for each channel; the "
        "software PF has no channels and refuses with -22, which any i40e says whose queues are "
        "all taken. A refusal for a rate comes after i40e has counted 16 pairs as the VF's",
        _makes_channels,
    ),
)


def explain(exchange: Exchange) -> Difference | None:
    """The row for an exchange that is not equal; None when there is none."""
    rows = (
        row
        for row in DIFFERENCES
        if exchange.kernel in row.kernels and row.of_others == bool(exchange.others)
    )
    return next((row for row in rows if row.explains(exchange)), None)


def too_much(exchange: Exchange) -> str | None:
    """What else a row would explain that explains this; None when it is as narrow as it should be.

    Another status of the software PF's and other queue pairs have nothing to do with any row.
    """
    opcode = exchange.step.opcode
    others = {
        "another status": replace(exchange, soft=[(opcode, -99, b"")]),
        "silence": replace(exchange, soft=[]),
        "other pairs": replace(exchange, unlike=exchange.unlike | {"pairs": (1, 2)}),
        "other effects": replace(exchange, programmed=exchange.programmed | {"hashing": (1, 2)}),
    }
    for what, other in others.items():
        if other != exchange and (row := explain(other)):
            return f"{row.name} explains {what} as well"
    return None
