# SPDX-License-Identifier: BSD-3-Clause
"""Each row of the PF's message table, against docs/spec/virtchnl.md 2, 5, 9 written out by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from iavfio.softvf.pf.messages import Message
from iavfio.softvf.pf.table import MESSAGES, SUBJECTS, name_of
from tests.softvf.pf.pf_rig import rig

ROOT = Path(__file__).parents[3]
HEADER = (ROOT / "csrc/hw/virtchnl.h").read_text(encoding="utf-8")
L2, VLAN, VLAN_V2, RSS_PF, REQ_QUEUES = 1 << 0, 1 << 16, 1 << 15, 1 << 19, 1 << 6
RDMA, ADQ, FLEX, ADV_RSS, FDIR, PTP, QOS = (1 << n for n in (1, 23, 26, 27, 28, 31, 29))
BOTH, ICE, I40E, NONE = {"ice", "i40e"}, {"ice"}, {"i40e"}, set[str]()

# Opcode: fixed, per, gate (or when it is unlocked), who serves it.
EXPECTED: dict[int, tuple[int, int, int | str, set[str]]] = {
    1: (8, 0, "always", BOTH),
    2: (0, 0, "always", BOTH),
    3: (4, 0, "always", BOTH),
    4: (24, 0, "active", NONE),
    5: (40, 0, "active", NONE),
    6: (72, 64, "active", BOTH),
    7: (14, 12, "active", BOTH),
    8: (12, 0, "active", BOTH),
    9: (12, 0, "active", BOTH),
    10: (12, 8, L2, BOTH),
    11: (12, 8, L2, BOTH),
    12: (6, 2, VLAN, BOTH),
    13: (6, 2, VLAN, BOTH),
    14: (4, 0, L2, BOTH),
    15: (12, 0, "active", BOTH),
    18: (8, 0, RSS_PF, ICE),
    20: (0, 0, RDMA, I40E),
    21: (4, 12, RDMA, I40E),
    22: (0, 0, RDMA, I40E),
    23: (5, 1, RSS_PF, BOTH),
    24: (5, 1, RSS_PF, BOTH),
    25: (0, 0, RSS_PF, BOTH),
    26: (8, 0, RSS_PF, BOTH),
    27: (0, 0, VLAN, BOTH),
    28: (0, 0, VLAN, BOTH),
    29: (2, 0, REQ_QUEUES, BOTH),
    30: (8, 16, ADQ, I40E),
    31: (0, 0, ADQ, I40E),
    32: (272, 0, ADQ, I40E),
    33: (272, 0, ADQ, I40E),
    44: (0, 0, FLEX, ICE),
    45: (2444, 0, ADV_RSS, ICE),
    46: (2444, 0, ADV_RSS, ICE),
    47: (2616, 0, FDIR, NONE),
    48: (12, 0, FDIR, NONE),
    51: (0, 0, VLAN_V2, ICE),
    52: (8, 32, VLAN_V2, ICE),
    53: (8, 32, VLAN_V2, ICE),
    54: (16, 0, VLAN_V2, ICE),
    55: (16, 0, VLAN_V2, ICE),
    56: (16, 0, VLAN_V2, ICE),
    57: (16, 0, VLAN_V2, ICE),
    60: (48, 0, PTP, NONE),
    61: (16, 0, PTP, NONE),
    66: (0, 0, QOS, NONE),
    112: (4, 12, QOS, NONE),
    113: (12, 0, QOS, NONE),
}
UNLOCK = {"always": "always", "after GET_VF_RESOURCES": "active"}

each_row = pytest.mark.parametrize("row", MESSAGES.values(), ids=lambda row: row.name)


def test_the_table_has_these_opcodes_once() -> None:
    assert set(MESSAGES) == set(EXPECTED)
    assert sum(len(subject.ROWS) for subject in SUBJECTS) == len(MESSAGES)


@each_row
def test_row(row: Message) -> None:
    unlock: int | str = UNLOCK.get(row.unlock, row.gate)
    served = {driver for driver in ("ice", "i40e") if row.handler_of(driver)}
    assert (row.fixed, row.per, unlock, served) == EXPECTED[row.number]


@each_row
def test_the_number_stands_in_the_header_alone(row: Message) -> None:
    assert re.findall(rf"\bVC_OP_{row.name} = (\d+)\b", HEADER) == [str(row.number)]
    assert name_of(row.number) == f"{row.name} ({row.number})"


@each_row
def test_ice_refuses_what_its_gate_does_not_unlock(row: Message) -> None:
    """Before GET_VF_RESOURCES all but three; after it what has a gate that was not granted."""
    n = 1 if row.per else 0
    payload = bytearray(row.fixed + row.per * n or int(row.any_length))
    payload[row.count_at : row.count_at + (row.count_size if n else 0)] = n.to_bytes(
        row.count_size if n else 0, "little"
    )
    with rig("e810") as pf:
        if row.unlock == "always":
            return
        pf.say(1, (1).to_bytes(4, "little") * 2)
        refusal = -5 if "6.12" in row.unknown_to else -64
        assert pf.status(row.number, bytes(payload)) == refusal
        if row.gate and row.gate != L2:
            pf.negotiate(L2)
            assert pf.status(row.number, bytes(payload)) == refusal
