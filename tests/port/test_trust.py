# SPDX-License-Identifier: BSD-3-Clause
"""The probe of trust goes on until the PF has told, and leaves nothing in the PF."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import iavfio
from iavfio._driver import lib
from iavfio.port.port import Port
from iavfio.port.trust import PROBES
from iavfio.softvf.launch import SoftPf
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


PF_DRIVERS = [
    (card, kernel) for card in ("e810", "x710", "x722") for kernel in ("6.1", "6.12", "7.x", "oot")
]
NOTE = "promiscuous mode is not in force"


def macs_of(pf: SoftPf, vf: int = 0) -> list[str]:
    return sorted(pf.control("snapshot", vf=vf)["snapshot"]["macs"])


def extra(count: int) -> list[str]:
    return [f"02:00:00:00:01:{n:02x}" for n in range(count)]


def tells(port: Port, trusted: bool) -> bool:
    """Whether the probe has this result, and the notes say so."""
    noted = any(NOTE in note for note in port.notes)
    return port.control.trust.told == ("trusted" if trusted else "untrusted") and noted != trusted


@pytest.mark.parametrize(("personality", "kernel"), PF_DRIVERS)
@pytest.mark.parametrize(
    ("trusted", "extras"), [(False, (0, 15)), (True, (0, 50))], ids=["untrusted", "trusted"]
)
def test_the_probe_leaves_the_pf_as_it_was_and_breaks_no_rule(
    personality: str, kernel: str, trusted: bool, extras: tuple[int, int]
) -> None:
    options: Options = {**FAST, "pf_kernel": kernel, "trusted": trusted}
    with iavfio.softvf(vfs=2, personality=personality, options=options) as pf:
        for vf, count in enumerate(extras):
            with pf.open(vf) as port:
                port.configure(extra_macs=extra(count))
                port.start(wait_link=10)
                before = macs_of(pf, vf)
                assert set(extra(count)) <= set(before)
                port.set_promiscuous(True)
                assert until(partial(tells, port, trusted), 30)
                assert macs_of(pf, vf) == before
                port.reset()
                port.wait_running(30)
                assert until(partial(tells, port, trusted), 30)
                assert macs_of(pf, vf) == before
                assert pf.violations() == []


@pytest.mark.parametrize("personality", ["e810", "x710", "x722"])
@pytest.mark.parametrize("status", [-1, -5, -53])
@pytest.mark.parametrize("trusted", [False, True])
def test_a_pf_that_takes_a_list_and_says_no_is_left_with_nothing(
    personality: str, status: int, trusted: bool
) -> None:
    options: Options = {**FAST, "trusted": trusted}
    with iavfio.softvf(personality=personality, options=options) as pf, pf.open() as port:
        port.start(wait_link=10)
        before = macs_of(pf)
        opcode = lib.VC_OP_ADD_ETH_ADDR
        pf.control("fault", vf=0, kind="retval", opcode=opcode, value=status, count=1)
        port.set_promiscuous(True)
        assert until(lambda: port.control.trust.told != "unknown", 30)
        assert macs_of(pf) == before
        assert pf.violations() == []
