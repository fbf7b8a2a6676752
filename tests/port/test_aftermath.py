# SPDX-License-Identifier: BSD-3-Clause
"""What else a reset, a lost answer or a broken mailbox must leave right: counters, trust, times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

import iavfio
from iavfio._driver import lib
from iavfio.datapath.pool import Pool
from iavfio.errors import DeviceLost, IavfioError
from iavfio.port.housekeeping import SILENT
from iavfio.port.port import Port
from iavfio.port.watchdog import Watchdog
from iavfio.softvf.launch import SoftPf
from iavfio.virtchnl.channel import Channel
from tests.port.expected import snapshot
from tests.port.rig import healthy, until, works


@pytest.fixture(params=["e810", "x710"])
def pf(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    with iavfio.softvf(personality=request.param, options={"reset_ms": 1}) as pf:
        yield pf


@pytest.fixture
def port(pf: SoftPf) -> Iterator[Port]:
    with pf.open(0, pool=Pool(2048, huge="never")) as port:
        yield port


def back(port: Port, resets: int) -> bool:
    return until(lambda: len(port.resets) >= resets and port.state == "running")


# docs/spec/reliability.md F41
def test_an_enabling_without_an_answer_is_undone(
    pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The PF may have carried it out: its queues write until they are disabled."""
    monkeypatch.setattr(Channel, "pace", 0.05)
    pf.control("fault", vf=0, kind="drop", opcode=lib.VC_OP_ENABLE_QUEUES)
    with pytest.raises(IavfioError):
        port.start()
    assert snapshot(pf)["queues"]["enabled_rx"] == []
    assert not port.session.dma_live
    assert port.state == "stopped" and healthy(port.pool)
    port.start(wait_link=10)
    works(port)


# docs/spec/reliability.md F16
def test_counters_after_a_reset_may_begin_anew(pf: SoftPf, port: Port) -> None:
    """What comes next is added to what was, however near to a wrap it looks."""
    near = (1 << 48) - 1000
    pf.control("stats_base", vf=0, values=[near] * 12)
    port.start(wait_link=10)
    port.refresh_stats()
    before = port.stats.snapshot().pf
    pf.control("reset", vf=0, latency_ms=200)
    assert until(lambda: port.state == "resetting")
    pf.control("stats_base", vf=0, values=[0] * 12)  # as of a VSI that was rebuilt
    assert back(port, 1)
    port.refresh_stats()
    after = port.stats.snapshot().pf
    moved = {name: after[name] - before[name] for name in before}
    assert all(0 <= value < 500 for value in moved.values()), moved


def test_an_outage_counts_from_when_the_registers_showed_it(
    pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing moves from then on, whenever Python hears of it."""
    port.start(wait_link=10)
    monkeypatch.setattr(
        Watchdog, "reset_since", property(lambda watchdog: time.monotonic() - 100.0)
    )
    pf.control("reset", vf=0)
    assert back(port, 1)
    assert 100.0 <= port.resets[0].outage < 200.0


def test_an_own_reset_is_no_older_than_its_call(pf: SoftPf, port: Port) -> None:
    port.start(wait_link=10)
    pf.control("reset", vf=0)
    assert back(port, 1)
    time.sleep(0.05)
    began = time.monotonic()
    record = port.reset()
    assert record.outage <= time.monotonic() - began


def test_trust_is_asked_for_again_after_a_reset(pf: SoftPf, port: Port) -> None:
    """The host resets a VF whose trust it changes: the answer of before is worth nothing."""
    port.configure(promiscuous=True)
    port.start(wait_link=10)
    assert "not trusted" in port.control.status.conditions
    pf.control("trust", vf=0, on=True)
    assert back(port, 1)
    port.control.check_trust()
    assert "not trusted" not in port.control.status.conditions
    assert snapshot(pf)["promisc"] == {"unicast": True, "multicast": True}


def test_a_mailbox_that_is_broken_for_good_means_one_reset(
    pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Setting it up anew was tried before (docs/spec/reliability.md F11)."""
    port.start(wait_link=10)
    resets = snapshot(pf)["resets"]
    broken = [True]
    monkeypatch.setattr(Channel, "needs_reset", property(lambda channel: broken[0]))
    restart = Channel.restart

    def mended(channel: Channel) -> None:
        broken[0] = False
        restart(channel)

    monkeypatch.setattr(Channel, "restart", mended)
    port.control.housekeeping.tick()
    assert [reset.cause for reset in port.resets] == ["the admin queue failed"]
    assert snapshot(pf)["resets"] == resets + 1
    assert port.state == "running"
    port.wait_link(10)
    works(port)


def test_a_pf_that_is_silent_is_told_and_not_reset(
    pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """i40e answers nothing after malicious driver detection, and traffic may go on."""
    monkeypatch.setattr(Channel, "pace", 0.02)
    port.start(wait_link=10)
    pf.control("fault", vf=0, kind="lose", count=1_000_000)
    for _ in range(SILENT):
        port.control.housekeeping.tick()
    assert until(lambda: "PF silent" in port.control.status.conditions, 20)
    (note,) = [note for note in port.notes if "answers no requests" in note]
    assert "port.reset()" in note
    assert port.state == "running" and port.resets == []
    pf.control("fault", vf=0, kind="clear")
    assert until(lambda: "PF silent" not in port.control.status.conditions, 20)
    works(port)


def test_a_pf_whose_driver_goes_is_told_until_the_port_is_back(pf: SoftPf, port: Port) -> None:
    port.start(wait_link=10)
    pf.control("send", vf=0, opcode=lib.VC_OP_EVENT, payload="03000000" + "00" * 12)
    assert until(lambda: "PF closes" in port.control.status.conditions)
    (note,) = port.notes
    assert "port.recover()" in note
    port.reset()
    assert port.notes == []


# docs/spec/reliability.md F31
def test_queues_of_a_device_that_is_gone_say_so_whoever_noticed(pf: SoftPf, port: Port) -> None:
    """C tells its queues when it sees the loss; a request that fails tells them as well."""
    port.start(wait_link=10)
    port.control.device_lost()
    assert port.state == "failed"
    for call in (port.rx[0].recv, port.tx[0].clean):
        with pytest.raises(DeviceLost):
            call()


def test_settings_of_the_user_outlive_a_reset_that_failed(
    pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iavfio.port.recovery.BACKOFF", 0.001)
    settings: dict[str, Any] = {"queues": 2, "extra_macs": ["02:00:00:00:02:00"], "ring": 128}
    port.configure(**settings)
    port.start(wait_link=10)
    wanted = port.settings
    opcode = lib.VC_OP_CONFIG_VSI_QUEUES
    pf.control("fault", vf=0, kind="retval", opcode=opcode, value=-5, count=1000)
    with pytest.raises(IavfioError):
        port.reset()
    assert (port.state, port.settings) == ("failed", wanted)
    assert snapshot(pf)["queues"]["enabled_rx"] == []
    pf.control("fault", vf=0, kind="clear")
    port.recover()
    assert (port.state, port.settings) == ("running", wanted)
    assert snapshot(pf)["queues"]["enabled_rx"] == [0, 1]
    port.wait_link(10)
    works(port)
