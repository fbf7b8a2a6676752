# SPDX-License-Identifier: BSD-3-Clause
"""What i40e writes to its card, by hand, and what is read from it."""

from __future__ import annotations

import struct

from iavfio.linuxpf.process import Answer, Frame, Kind, What
from iavfio.softvf import personality
from iavfio.softvf._device import lib
from iavfio.softvf.linux_pf.i40e.card import X710
from iavfio.softvf.linux_pf.i40e.queues import VECTORS, decode
from iavfio.softvf.linux_pf.queues import RxQueue, TxQueue, Vector

NONE = 0x7FF
RUNS, CAUSE = 1 << 2, 1 << 30
FIRST, CHANNEL = 0x20A, 0x20E  # SEIDs of VF 0's VSIs; 20Bh is VF 1's
MAC = bytes.fromhex("020000000001")


def rx_context(ring: int) -> bytes:
    return (ring >> 7 << 32 | 128 << 89 | 16 << 102 | 1 << 117 | 1522 << 174).to_bytes(32, "little")


def tx_context(ring: int) -> bytes:
    return (ring >> 7 << 32 | 512 << 161).to_bytes(128, "little")


def queue(number: int, runs: int = 0, rx_cause: int = 0, tx_cause: int = 0, ring: int = 0) -> bytes:
    """A queue as the judge tells of it: its number on the card, registers and contexts."""
    head = struct.pack("<H4I", number, runs, runs, rx_cause, tx_cause)
    return head + rx_context(ring) + tx_context(ring)


def told(*queues: bytes, pairs: int = 0, lists: tuple[int, ...] = ()) -> bytes:
    """What the judge tells of a VF."""
    first = (*lists, *[NONE] * (VECTORS - len(lists)))
    head = struct.pack("<H4BHBBII5I", pairs or len(queues), 1, 1, 1, 0, 7, 1, 0, 3, 1 << 16, *first)
    return head + b"".join(queues)


def test_queues_are_the_vfs_wherever_they_lie_on_the_card() -> None:
    """A list of causes goes from VSI to VSI by the card's numbers."""
    to_next = CAUSE | 72 << 16 | 1
    end = CAUSE | 1 << 11 | NONE << 16 | 1
    raw = told(
        queue(64, RUNS, to_next, 0, 0x2000),
        queue(72, RUNS, end, 0, 0x4000),
        queue(NONE, RUNS, end, end, 0x6000),
        lists=(NONE, 64),
    )
    queues = decode(raw)
    assert queues.pairs == 3
    assert queues.rx == {
        number: RxQueue(ring, 128, 2048, 1522, keep_crc=False)
        for number, ring in ((0, 0x2000), (1, 0x4000))
    }
    assert queues.tx == {0: TxQueue(0x2000, 512), 1: TxQueue(0x4000, 512)}
    assert queues.vectors[1] == Vector(rx_map=0b11, rx_itr=1)
    assert (queues.trusted, queues.spoof_check, queues.port_vlan) == (True, False, 7)


def test_a_list_of_causes_ends_at_a_queue_of_another_vf() -> None:
    raw = told(queue(64, 0, CAUSE | 68 << 16, CAUSE), lists=(64,))
    assert decode(raw).vectors[0] == Vector(rx_map=1)


class Driver:
    """A PF's driver that holds the same for every VF."""

    def __init__(self, *queues: bytes) -> None:
        self._queues = told(*queues)

    def __call__(self, what: What, vf: int) -> Answer:
        state = MAC + bytes(14) + bytes(52 + 64 + 8)
        kind, data = (Kind.STATE, state) if what is What.STATE else (Kind.QUEUES, self._queues)
        return Answer(frames=[Frame(kind, vf, 0, 0, data)])


def add_vsi(seid: int, vf: int) -> tuple[int, bytes]:
    return 0x210, struct.pack("<HBBB11x", seid, 1, 0, vf) + bytes(128)


def test_channels_are_told_and_leave_the_first_vsi_alone() -> None:
    card, driver = X710(personality.named("x710")), Driver(queue(64))
    element = struct.pack("<6sHHHHH", MAC, 0, 1 << 2, 0, 0, 0)
    assert card.commands([add_vsi(FIRST, 0), add_vsi(FIRST + 1, 1)]) == {0, 1}
    card.commands([(0x250, struct.pack("<HH12x", 1, FIRST) + element)])
    alone = card.service(0, driver)
    assert alone is not None and alone.left_out == () and alone.traffic.macs == (MAC,)
    assert card.commands([add_vsi(CHANNEL, 0)]) == {0}
    both = card.service(0, driver)
    assert both is not None and both.traffic.macs == (MAC,)
    (text,) = both.left_out
    assert "channels" in text and both.page == "docs/spec/pf-dialects.md 5"
    neighbour = card.service(1, driver)
    assert neighbour is not None and neighbour.left_out == ()
    assert card.commands([(0x243, struct.pack("<H14x", CHANNEL))]) == {0}
    assert card.service(0, driver) == alone


def test_a_mask_may_reach_queues_of_other_vfs() -> None:
    """i40e counts a mask's bits from the VF's first queue on, whosever queues those are."""
    card = X710(personality.named("x710"))
    for vf, first in enumerate((64, 68, 72)):
        card.service(vf, Driver(*(queue(first + number) for number in range(4))))
    switches = [lib.VC_OP_ENABLE_QUEUES, lib.VC_OP_DISABLE_QUEUES]
    for rx, tx, reached in (
        (0xF, 0xF, set()),
        (0x1F, 0, {1}),
        (0, 0x80, {1}),
        (0xF00, 0, {2}),
        (0xFF0, 0, {1, 2}),
        (0xF000, 0xFFFFF000, set()),
    ):
        for opcode in switches:
            assert card.reached(0, opcode, struct.pack("<HHII", 10, 0, rx, tx)) == reached
    assert card.reached(2, switches[0], struct.pack("<HHII", 12, 0, ~0 & 0xFFFFFFFF, 0)) == set()
    assert card.reached(0, switches[0], bytes(11)) == set()
    assert card.reached(0, lib.VC_OP_GET_STATS, struct.pack("<HHII", 10, 0, 0xFF, 0)) == set()
    assert card.reached(3, switches[0], struct.pack("<HHII", 13, 0, 0xFF, 0)) == set()


def test_a_command_about_no_vfs_vsi_concerns_nobody() -> None:
    card = X710(personality.named("x710"))
    assert card.commands([(0x243, struct.pack("<H14x", FIRST)), (0x401, bytes(16))]) == set()
    gone = card.service(0, Driver(queue(64)))
    assert gone is not None and gone.disabled
