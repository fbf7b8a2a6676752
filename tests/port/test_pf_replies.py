# SPDX-License-Identifier: BSD-3-Clause
"""A port and a PF whose replies are longer, shorter, later or other than expected."""

from __future__ import annotations

import time
from typing import Any

import pytest

import iavfio
from iavfio._driver import lib
from iavfio.virtchnl.channel import Channel
from tests.port.rig import works

FOREVER = 100_000
STATS: int = lib.VC_OP_GET_STATS


def resets(pf: Any) -> int:
    """How often the PF has reset the VF."""
    return int(pf.control("snapshot", vf=0)["snapshot"]["resets"])


def noted(port: Any, words: str) -> bool:
    """Whether a note with these words comes within a few seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if any(words in note for note in port.notes):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("card", ["e810", "x710", "x722"])
@pytest.mark.parametrize("more", [0, 8, 1000])
def test_counters_move_whatever_the_pf_appends(card: str, more: int) -> None:
    """Kernel i40e answers with 104 bytes; a PF of tomorrow may append more."""
    with iavfio.softvf(personality=card, uplink="loopback", options={"reset_ms": 1}) as pf:
        if more:
            pf.control("fault", vf=0, kind="extend", opcode=STATS, value=more, count=FOREVER)
        with pf.open(0) as port:
            port.start(wait_link=5)
            works(port)
            port.refresh_stats()
            assert port.stats.snapshot().pf["rx_unicast"] >= 64
            assert port.notes == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "truncate", "value": 60}, "GET_STATS message makes no sense"),
        ({"kind": "retval", "value": -22}, "refused GET_STATS with -22"),
        ({"kind": "drop"}, "did not answer GET_STATS"),
    ],
)
def test_counters_that_are_not_renewed_are_told(fault: dict[str, Any], words: str) -> None:
    with (
        iavfio.softvf(personality="x710", options={"reset_ms": 1}) as pf,
        pf.open(0) as port,
    ):
        port.start(wait_link=5)
        assert port.notes == []
        pf.control("fault", vf=0, opcode=STATS, count=FOREVER, **fault)
        assert noted(port, words), port.notes
        assert port.state == "running"
        pf.control("fault", vf=0, kind="clear")
        port.refresh_stats()


def test_a_malformed_first_sample_does_not_fail_the_start() -> None:
    with (
        iavfio.softvf(personality="x710", options={"reset_ms": 1}) as pf,
        pf.open(0) as port,
    ):
        # Housekeeping may ask first, and the start's sample comes after it.
        pf.control("fault", vf=0, kind="truncate", opcode=STATS, value=60, count=3)
        port.start(wait_link=5)
        assert any("counters" in note for note in port.notes)


@pytest.mark.parametrize("card", ["x710", "x722"])
def test_a_vf_of_an_mfp_port_opens(card: str) -> None:
    """i40e in MFP/NPAR mode refuses a VF that asks for RX_POLLING."""
    options: dict[str, Any] = {"reset_ms": 1, "mfp": True}
    with iavfio.softvf(personality=card, options=options) as pf, pf.open(0) as port:
        port.start(wait_link=5)
        assert resets(pf) == 0


def test_a_pf_that_minds_a_capability_is_asked_for_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before and after a reset, each time for as long as the port has patience."""
    monkeypatch.setattr("iavfio.port.negotiation.REFUSED_PATIENCE", 0.0)
    options: dict[str, Any] = {"reset_ms": 1, "resources_once": False}
    with iavfio.softvf(personality="x710", options=options) as pf:
        opcode = lib.VC_OP_GET_VF_RESOURCES
        pf.control("fault", vf=0, kind="retval", opcode=opcode, value=-22, count=2)
        with pf.open(0) as port:
            granted = [cap.name for cap in port.capabilities.granted_list]
            assert granted == ["L2", "RSS_REG", "ADV_LINK_SPEED", "VLAN"]
            assert "RSS_PF" in [cap.name for cap in port.capabilities.denied]
            port.start(wait_link=5)


@pytest.mark.parametrize("card", ["e810", "x710"])
def test_a_slow_pf_is_waited_for_without_a_reset(
    card: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tenth of the patience of a real port, a PF that takes 0.25 s stands for 2.5 s."""
    monkeypatch.setattr(Channel, "pace", 0.1)
    options: dict[str, Any] = {"reset_ms": 1, "answer_ms": 250.0}
    with iavfio.softvf(personality=card, options=options) as pf:
        with pf.open(0) as port:
            port.start()
            assert port.state == "running"
            port.stop()
            assert port.state == "stopped"
            assert resets(pf) == 0
        assert pf.violations() == []


def test_a_lost_message_while_opening_costs_no_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Channel, "pace", 0.05)
    with iavfio.softvf(personality="e810", options={"reset_ms": 1}) as pf:
        for opcode in (lib.VC_OP_VERSION, lib.VC_OP_GET_SUPPORTED_RXDIDS):
            with pf.open(0):
                before = resets(pf)
            pf.control("fault", vf=0, kind="lose", opcode=opcode)
            with pf.open(0):
                assert resets(pf) == before + 1  # by the close before it
