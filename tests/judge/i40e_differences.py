# SPDX-License-Identifier: BSD-3-Clause
"""Where the software X710 answers otherwise than i40e of Linux, each time with the reason.

A row explains an exchange when its test says so. test_i40e_differential.py fails for a difference
without a row and for a row without a difference.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from iavfio.linuxpf.kernel_source import NEWEST
from tests.judge.i40e_pair import Exchange, Step

KERNELS = ("6.1", "6.12", NEWEST)


@dataclass(frozen=True)
class Difference:
    """One reviewed difference: kernels, the kernel's function that answers, why ours differs."""

    name: str
    kernels: tuple[str, ...]
    function: str
    reason: str
    explains: Callable[[Exchange], bool]


CONFIG_VSI_QUEUES, CONFIG_IRQ_MAP, DEL_ETH_ADDR, ADD_VLAN = 6, 7, 11, 12
EVENT, ENABLE_CHANNELS = 17, 30
REFUSED = (-22, -10)  # DEL_ETH_ADDR of an address that is no filter: now, and in 6.1
VECTOR_MAP = struct.Struct("<6H")  # VSI, vector, queues of both directions, their ITR
ELEMENT, HEADER, QUEUE_AT = 64, 8, 2  # bytes of a queue pair, before the first, up to its number


def _configured(steps: Sequence[Step]) -> set[int]:
    """Queues that CONFIG_VSI_QUEUES named since the last FLR, whether it was refused or not."""
    named: set[int] = set()
    for step in steps:
        if step.deed == "flr":
            named.clear()
        elif step.opcode == CONFIG_VSI_QUEUES and len(step.payload) > HEADER:
            starts = range(HEADER + QUEUE_AT, len(step.payload) - 1, ELEMENT)
            named |= {struct.unpack_from("<H", step.payload, at)[0] for at in starts}
    return named


def _runs_by_an_old_context(exchange: Exchange) -> bool:
    """Only queues that nobody configured since the reset run more on i40e."""
    if exchange.unlike or exchange.real != exchange.soft:
        return False
    if not exchange.programmed.keys() <= {"rx", "tx"}:
        return False
    named = _configured(exchange.before)
    return all(
        soft.items() <= real.items() and not named & (real.keys() - soft.keys())
        for real, soft in exchange.programmed.values()
    )


def _has_no_buffer(exchange: Exchange) -> bool:
    """Only queues whose buffers have no size run more on i40e."""
    if exchange.unlike or exchange.real != exchange.soft or {*exchange.programmed} != {"rx"}:
        return False
    real, soft = exchange.programmed["rx"]
    more = [queue for number, queue in real.items() if number not in soft]
    return soft.items() <= real.items() and not any(queue.buffer_size for queue in more)


def _moved(steps: Sequence[Step]) -> bool:
    """Whether CONFIG_IRQ_MAP names a queue for more than one vector since the last FLR."""
    vectors: dict[tuple[bool, int], set[int]] = {}
    for step in steps:
        if step.deed == "flr":
            vectors.clear()
        elif step.opcode == CONFIG_IRQ_MAP and len(step.payload) > 2:
            end = 2 + (len(step.payload) - 2) // VECTOR_MAP.size * VECTOR_MAP.size
            for _, vector, rx, tx, *_ in VECTOR_MAP.iter_unpack(step.payload[2:end]):
                for queue in range(16):
                    for is_rx, queues in ((True, rx), (False, tx)):
                        if queues >> queue & 1:
                            vectors.setdefault((is_rx, queue), set()).add(vector)
    return any(len(each) > 1 for each in vectors.values())


def _list_is_cut(exchange: Exchange) -> bool:
    """A queue that moved to another vector took the rest of its list of causes with it."""
    if exchange.unlike or exchange.real != exchange.soft:
        return False
    only_causes = exchange.programmed.keys() <= {"rx_causes", "tx_causes"}
    return only_causes and _moved([*exchange.before, exchange.step])


def _leaves_later(exchange: Exchange) -> bool:
    """i40e's switch still has addresses that a refused DEL_ETH_ADDR took off its list."""
    if exchange.unlike or exchange.real != exchange.soft or {*exchange.programmed} != {"macs"}:
        return False
    refused = [status for opcode, status, _ in exchange.real if opcode == DEL_ETH_ADDR]
    real, soft = exchange.programmed["macs"]
    gone = [mac.hex() for mac in real - soft]
    return (
        len(refused) == 1
        and refused[0] in REFUSED
        and soft < real
        and all(mac in exchange.step.payload.hex() for mac in gone)
    )


def _stays_promiscuous(exchange: Exchange) -> bool:
    """i40e's card stays promiscuous, where VLANs came or went meanwhile."""
    if exchange.unlike or exchange.real != exchange.soft:
        return False
    steps = [*exchange.before, exchange.step]
    flags = exchange.programmed
    return (
        any(step.opcode == ADD_VLAN or step.deed == "port_vlan" for step in steps)
        and flags.keys() <= {"unicast", "multicast"}
        and all(real and not soft for real, soft in flags.values())
    )


def _makes_channels(exchange: Exchange) -> bool:
    """i40e resets the VF and gives it 16 pairs, or counts them as its own and refuses then."""
    if exchange.step.opcode != ENABLE_CHANNELS or exchange.unlike.get("pairs") != (16, 4):
        return False
    if exchange.real == exchange.soft:
        return {*exchange.unlike} == {"pairs"} and not exchange.programmed
    told = [(opcode, bool(status)) for opcode, status, _ in exchange.soft]
    return [op for op, *_ in exchange.real] == [EVENT] and told == [(ENABLE_CHANNELS, True)]


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "an old context",
        KERNELS,
        "i40e_vc_enable_queues_msg",
        "a queue that is enabled without CONFIG_VSI_QUEUES runs by the context that its last user "
        "left in the card's memory; the software PF has it stand still and notes a violation",
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
        "i40e_vc_del_mac_addr_msg",
        "a refused DEL_ETH_ADDR has taken the addresses before the unknown one off i40e's list, "
        "and the switch loses them at the next run of the service task, within a second, whose "
        "timer the judge does not play; the software PF's switch loses them at once",
        _leaves_later,
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
    rows = (row for row in DIFFERENCES if exchange.kernel in row.kernels)
    return next((row for row in rows if row.explains(exchange)), None)
