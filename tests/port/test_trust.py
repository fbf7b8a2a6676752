# SPDX-License-Identifier: BSD-3-Clause
"""The probe of trust goes on until the PF has told, and leaves nothing in the PF."""

from __future__ import annotations

from typing import Any

import pytest

import iavfio
from iavfio._driver import lib
from iavfio.port.trust import PROBES
from tests.port.rig import Options, until

FAST: Options = {"reset_ms": 1}
UNANSWERED: list[tuple[str, dict[str, Any]]] = [
    ("retval", {"opcode": lib.VC_OP_ADD_ETH_ADDR, "value": -5, "count": 2}),
    ("lose", {"opcode": lib.VC_OP_ADD_ETH_ADDR, "count": 1}),
    ("lose", {"opcode": lib.VC_OP_DEL_ETH_ADDR, "count": 1}),
]


@pytest.mark.parametrize("personality", ["e810", "x710"])
@pytest.mark.parametrize(("kind", "fault"), UNANSWERED, ids=["refused", "add-lost", "delete-lost"])
def test_a_probe_without_a_result_is_repeated(
    personality: str, kind: str, fault: dict[str, Any]
) -> None:
    with iavfio.softvf(personality=personality, options=FAST) as pf, pf.open() as port:
        port.start(wait_link=10)
        pf.control("fault", vf=0, kind=kind, **fault)
        port.set_promiscuous(True)
        assert until(lambda: any("promiscuous mode is not in force" in n for n in port.notes), 20)
        port.stop()
        port.set_promiscuous(False)
        port.start(wait_link=10)
        held = pf.control("snapshot", vf=0)["snapshot"]["macs"]
        assert not {mac.hex(":") for mac in PROBES} & set(held)
        assert port.mac.hex(":") in held
