# SPDX-License-Identifier: BSD-3-Clause
"""What cards and their PFs do that the software PF does when it is told to."""

from __future__ import annotations

import threading

import pytest

import iavfio
from iavfio import PfRefused
from iavfio._driver import lib
from iavfio.datapath.isa import usable
from tests.port.rig import collect, send_all, udp, until, works

GET_STATS = int(lib.VC_OP_GET_STATS)
PROMISCUOUS = int(lib.VC_OP_CONFIG_PROMISCUOUS_MODE)


# ---- a descriptor format that nobody asked for


@pytest.mark.parametrize("isa", usable())
@pytest.mark.parametrize("came", [2, 16, 24])
def test_another_known_format_is_taken_and_told(isa: str, came: int) -> None:
    with iavfio.softvf(options={"rxdid_written": came}) as pf, pf.open() as port:
        port.configure(isa=isa, metadata=["rss", "ptype"])
        port.start(wait_link=10)
        works(port)
        send_all(port, [udp(port.mac, port.mac)])
        with port.rx[0].recv(timeout=5) as burst:
            assert len(burst) == 1 and burst.rss[0] != 0 and burst.ptype[0] == 24
        assert sum(q["drop_malformed"] for q in port.stats.snapshot().rq) == 0
        told = f"with format (RXDID) {came}, although 22 was configured"
        assert until(lambda: any(told in note for note in port.notes), 4), port.notes
        assert not any("they are dropped" in note for note in port.notes)


def test_the_legacy_format_is_taken_too() -> None:
    with iavfio.softvf(options={"rxdid_written": 1}) as pf, pf.open() as port:
        port.start(wait_link=10)
        works(port)
        assert until(lambda: any("1 (legacy)" in note for note in port.notes), 4), port.notes


def test_the_configured_format_is_no_matter(caplog: pytest.LogCaptureFixture) -> None:
    with iavfio.softvf() as pf, pf.open() as port:
        port.start(wait_link=10)
        works(port)
        assert not until(lambda: bool(port.notes), 2)


# ---- causes that latch


@pytest.mark.parametrize("personality", ["x710", "x722"])
def test_a_latched_cause_hides_no_event(personality: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iavfio.port.watchdog.TICK", 1e9)  # which would see it, too, but later
    with (
        iavfio.softvf(personality=personality, options={"causes_latch": True}) as pf,
        pf.open() as port,
    ):
        port.start(wait_link=10)
        for turn in range(3):
            pf.control("link", state="down")
            assert until(lambda: not port.link.up), turn
            pf.control("link", state="up")
            assert until(lambda: port.link.up), turn
        pf.control("reset", vf=0)
        assert until(lambda: len(port.resets) == 1)
        assert pf.control("link", vf=0, state="disable")
        assert until(lambda: not port.link.up)


@pytest.mark.parametrize("personality", ["e810", "x710", "x722"])
@pytest.mark.parametrize("option", ["tails_stay", "causes_latch"])
def test_what_a_card_keeps_over_resets_harms_nobody(personality: str, option: str) -> None:
    """Resets of each kind, queues that stop and start, and a program after another."""
    with iavfio.softvf(vfs=2, personality=personality, options={option: True}) as pf:
        for program in range(2):
            with pf.open() as port:
                port.configure(queues=2)
                port.start(wait_link=10)
                works(port)
                pf.control("reset", vf=0)
                assert until(lambda: len(port.resets) == 1), program
                works(port)
                pf.control("pf_reset", kind="pfr", notify=False, latency_ms=1)
                assert until(lambda: len(port.resets) == 2), program
                works(port)
                port.stop()
                port.start(wait_link=10)
                works(port)
        assert pf.violations() == []


@pytest.mark.parametrize("personality", ["e810", "x710", "x722"])
def test_a_vector_that_fires_during_a_long_call_fires_again(
    personality: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call takes the message; its interrupt has to be enabled for the next one all the same."""
    monkeypatch.setattr("iavfio.port.watchdog.TICK", 1e9)  # which would do so, but later
    with iavfio.softvf(personality=personality) as pf, pf.open() as port:
        port.start(wait_link=10)
        for turn in range(2):
            pf.control("fault", vf=0, kind="delay", opcode=GET_STATS, count=1, value=400)
            asking = threading.Thread(target=port.refresh_stats)
            asking.start()
            pf.control("link", state="down")
            asking.join()
            assert until(lambda: not port.link.up), turn
            pf.control("link", state="up")
            assert until(lambda: port.link.up), turn


@pytest.mark.parametrize("personality", ["x710", "x722"])
def test_a_link_that_the_administrator_disables_stops_the_queues(personality: str) -> None:
    """i40e gives them back with a reset when the link is allowed again (pf-dialects.md 5)."""
    with iavfio.softvf(personality=personality, options={"reset_ms": 1}) as pf, pf.open() as port:
        port.configure(queues=2)
        port.start(wait_link=10)
        pf.control("link", vf=0, state="disable")
        assert until(lambda: not port.link.up)
        stopped = pf.control("snapshot", vf=0)["snapshot"]["queues"]
        assert (stopped["enabled_rx"], stopped["enabled_tx"]) == ([], [])
        with port.tx[0].build([bytes(60)] * 3) as burst:
            port.tx[0].send(burst)
        assert until(lambda: port.control.watchdog.stalled)
        assert port.resets == []  # nothing leaves without a link
        assert port.state == "running"
        pf.control("link", vf=0, state="auto")
        assert until(lambda: len(port.resets) == 1 and port.state == "running")
        assert until(lambda: port.link.up)
        works(port)


# ---- no default address


def test_a_zero_address_is_made_here_until_the_host_sets_one() -> None:
    """As an X710's PF of Linux 6.12 has it (docs/spec/pf-dialects.md 3)."""
    with iavfio.softvf(personality="x710", options={"mac": "zero"}) as pf, pf.open() as port:
        made = port.mac
        assert made != bytes(6) and made[0] & 3 == 2
        port.start(wait_link=10)
        assert pf.control("snapshot", vf=0)["snapshot"]["macs"] == [made.hex(":")]
        works(port)
        port.reset()
        assert port.mac == made
        works(port)
        pf.control("mac", vf=0, mac="02:00:00:00:00:55")
        assert until(lambda: len(port.resets) == 2 and port.state == "running")
        assert port.mac.hex(":") == "02:00:00:00:00:55"
        assert any("02:00:00:00:00:55" in note for note in port.notes)
        works(port)


# ---- promiscuity that a PF refuses


@pytest.mark.parametrize("personality", ["e810", "x710"])
@pytest.mark.parametrize("status", [-53, -5, -64, -1, -28])
def test_a_refusal_of_promiscuity_is_told_and_nothing_is_left(
    personality: str, status: int
) -> None:
    with (
        iavfio.softvf(personality=personality, options={"trusted": True}) as pf,
        pf.open() as port,
    ):

        def refuse() -> None:
            pf.control("fault", vf=0, kind="retval", opcode=PROMISCUOUS, count=1, value=status)

        port.configure(promiscuous=True)
        refuse()
        with pytest.raises(PfRefused) as told:
            port.start()
        assert told.value.status == status and port.state == "stopped"
        assert "CONFIG_PROMISCUOUS_MODE" in str(told.value) and told.value.remedy
        port.start(wait_link=10)  # granted now
        works(port)
        port.set_promiscuous(False)
        refuse()
        with pytest.raises(PfRefused):
            port.set_promiscuous(True)
        assert not port.settings.promiscuous and port.state == "running"
        works(port)
        port.set_promiscuous(True)
        refuse()  # after a reset traffic goes on, and the refusal is noted
        pf.control("reset", vf=0)
        assert until(lambda: len(port.resets) == 1 and port.state == "running")
        assert any("promiscuous mode could not be set" in note for note in port.notes)
        works(port)
        assert collect(port.rx, 0, 0.01) == []
