# SPDX-License-Identifier: BSD-3-Clause
"""Whatever a VF sends, the PF answers at most once and stays in one piece."""

from __future__ import annotations

import random
import struct

import pytest

from iavfio.softvf.pf.table import MESSAGES
from tests.softvf.pf.pf_rig import EVENT, LINUX_CAPS, Rig, config_queues, pair, rig

ROUNDS = 1500


def plausible(chance: random.Random, opcode: int, vsi: int) -> bytes:
    """A message of the right length, mostly with the right VSI, and garbage behind it."""
    message = MESSAGES[opcode]
    n = chance.choice((1, 2, 4, 16, 52, 64)) if message.per else 0
    n = min(n, (4000 - message.fixed) // (message.per or 1))
    if opcode == 6 and chance.random() < 0.7:
        return config_queues(vsi, *(some_pair(chance, vsi) for _ in range(n)))
    data = bytearray(chance.randbytes(message.fixed + n * message.per))
    starts_with_vsi = message.count_at != 0 if message.per else len(data) >= 4
    if starts_with_vsi and chance.random() < 0.8:
        struct.pack_into("<H", data, 0, vsi)
    if message.per:
        end = message.count_at + message.count_size
        data[message.count_at : end] = n.to_bytes(message.count_size, "little")
    return bytes(data)


def some_pair(chance: random.Random, vsi: int) -> bytes:
    return pair(
        vsi,
        chance.randrange(5),
        tx_len=chance.choice((0, 64, 512)),
        rx_len=chance.choice((0, 64, 512)),
        buffer=chance.choice((0, 127, 128, 2048)),
        frame=chance.choice((64, 1522)),
        crc=chance.randrange(2),
    )


def check(pf: Rig, opcode: int, payload: bytes) -> None:
    answers = [each for each in pf.say(opcode, payload) if each[0] != EVENT]
    assert len(answers) <= 1
    assert all(each[0] == opcode and len(each[2]) <= 4096 for each in answers)


@pytest.mark.parametrize("card", ("e810", "x710", "x722"))
@pytest.mark.parametrize("trusted", (False, True))
def test_garbage(card: str, trusted: bool) -> None:
    chance = random.Random(card)
    with rig(card, trusted=trusted, num_queue_pairs=4) as pf:
        good = 0
        for round_ in range(ROUNDS):
            state = pf.snapshot()["state"]
            if state == "init" and chance.random() < 0.5:
                pf.say(1, struct.pack("<II", 1, 1))
                pf.say(3, struct.pack("<I", chance.choice((LINUX_CAPS, LINUX_CAPS & ~0x8000))))
                continue
            opcode = chance.choice((*MESSAGES, chance.randrange(256)))
            if round_ % 4 == 0 or opcode not in MESSAGES:
                check(pf, opcode, chance.randbytes(chance.randrange(200)))
            else:
                check(pf, opcode, plausible(chance, opcode, pf.vsi))
            good += not pf.hardware[0].log
            pf.hardware[0].log.clear()
            if chance.random() < 0.05:
                pf.clock.advance(100)
        pf.pf.flr(0)
        pf.clock.advance(1000)
        pf.negotiate()
        assert good > ROUNDS / 20  # or the garbage was not plausible
        assert pf.clock.waiting == 0
