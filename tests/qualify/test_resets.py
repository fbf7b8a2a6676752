# SPDX-License-Identifier: BSD-3-Clause
"""Whatever a reset or an unbinding breaks is named for what it is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from iavfio._driver import lib
from iavfio.datapath.burst import Burst
from iavfio.port.events import Reset
from iavfio.port.port import Port
from iavfio.qualify.checks import resets, timing
from iavfio.qualify.vfs import Vfs
from iavfio.softvf.launch import SoftPf
from iavfio.stats.monotonic import Monotonic
from tests.port.rig import until
from tests.qualify.rig import CARDS, run, spoil


def broken(how: str) -> Callable[[SoftPf], object]:
    return lambda pf: pf.control("fault", vf=1, kind="reset", how=how)


def forgets(opcode: int) -> Callable[[SoftPf], object]:
    """What the check sets before the reset is in force, what the port sets after it is not."""
    return lambda pf: pf.control("fault", vf=1, kind="ignore", opcode=opcode, value=1, count=1000)


AFTER_A_RESET: list[tuple[Callable[[SoftPf], object], str]] = [
    (forgets(lib.VC_OP_CONFIG_RSS_KEY), "the RSS key is not in force, flow "),
    (forgets(lib.VC_OP_CONFIG_RSS_LUT), "the RSS table is not in force, flow "),
    (forgets(lib.VC_OP_ADD_ETH_ADDR), "an extra address is not in force"),
    (broken("mute"), "MSI-X does not work, the sleeper of queue 0 was not woken within 3 s"),
    (broken("counters"), "in the PF: the counter rx_bytes ran backwards, from "),
    (broken("dma"), "although its queues had been disabled (DMA after the reset)"),
]


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(
    ("name", "when"), [("own-reset", "after RESET_VF"), ("function-reset", "after the FLR")]
)
def test_what_a_reset_breaks_is_named_each_by_itself(
    pf: SoftPf, vfs: Vfs, monkeypatch: pytest.MonkeyPatch, name: str, when: str
) -> None:
    monkeypatch.setattr(timing, "LATE", 3.0)
    for fault, words in AFTER_A_RESET:
        vfs.start()  # the reset of the ports' reopening is over, which the fault would spoil, too
        vfs.way()
        fault(pf)
        outcome = run(vfs, name)
        assert outcome.status == "failed", (words, outcome)
        assert outcome.reason.startswith(when) and words in outcome.reason, outcome.reason
        pf.control("fault", vf=1, kind="clear")
    outcome = run(vfs, name)
    assert outcome.status == "passed", outcome.reason


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("name", ["own-reset", "function-reset", "reset-traffic"])
def test_a_reset_that_does_not_finish(
    pf: SoftPf, vfs: Vfs, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("iavfio.port.negotiation.READY_DEADLINE", 0.5)
    vfs.way()
    broken("hang")(pf)
    outcome = run(vfs, name)
    assert outcome.status == "failed"
    assert "did not become active within 0.5 s" in outcome.reason, outcome.reason
    pf.control("fault", vf=1, kind="clear")
    assert run(vfs, "both-ways").status == "passed"


@pytest.mark.parametrize("card", ["x710"])
def test_counters_of_the_port_that_run_backwards(
    pf: SoftPf, vfs: Vfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that takes a PF's fresh start for its totals; an E810's PF counts on."""
    vfs.way()

    def feed(self: Monotonic, raw: Sequence[int], at: float | None = None) -> tuple[int, ...]:
        return tuple(raw)

    monkeypatch.setattr(Monotonic, "feed", feed)
    outcome = run(vfs, "function-reset")
    assert outcome.status == "failed"
    assert "after the FLR: the counter rx_" in outcome.reason and "backwards" in outcome.reason


def test_buffers_that_a_reset_costs_are_counted(vfs: Vfs, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Burst] = []
    reset = Port.reset

    def losing(port: Port) -> Reset:
        held.append(port.tx[0].build([bytes(60)] * 3))
        return reset(port)

    monkeypatch.setattr(Port, "reset", losing)
    outcome = run(vfs, "reset-traffic")
    for burst in held:
        burst.release()
    assert outcome.status == "failed"
    assert outcome.reason == "3 buffers are missing after the reset"


def test_an_address_that_is_another_after_reopening(
    pf: SoftPf, vfs: Vfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    vfs.way()
    close = vfs.close

    def renaming() -> None:
        close()
        pf.control("mac", vf=1, mac="02:00:00:00:00:77")

    monkeypatch.setattr(vfs, "close", renaming)
    outcome = run(vfs, "reopening")
    assert outcome.status == "failed"
    assert outcome.reason == "the address is another after reopening"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sysfs of the test's own: the check writes where the kernel would listen."""
    home = tmp_path / "drivers" / "vfio-pci"
    home.mkdir(parents=True)
    for switch in ("unbind", "bind"):
        (home / switch).touch()
    place = tmp_path / "devices" / "0000:01:00.0"
    place.mkdir(parents=True)
    (place / "driver").symlink_to(home)
    monkeypatch.setattr(resets, "SYSFS", tmp_path)
    monkeypatch.setattr(resets, "NOTICE", 1.0)
    monkeypatch.setattr(resets, "normal_bdf", lambda target: "0000:01:00.0")
    return home


class Host(threading.Thread):
    """Asks for the VF as the kernel does when somebody writes to `unbind`."""

    def __init__(self, pf: SoftPf, unbind: Path) -> None:
        super().__init__(daemon=True)
        self._pf, self._unbind = pf, unbind
        self.start()

    def run(self) -> None:
        if until(lambda: self._unbind.read_text() != "", 20):
            self._pf.control("request", vf=1)


def test_unbind_passes_when_the_host_asks_and_gets_the_vf(pf: SoftPf, vfs: Vfs, home: Path) -> None:
    vfs.way()
    Host(pf, home / "unbind")
    outcome = run(vfs, "unbind")
    assert outcome.status == "passed", outcome.reason
    assert (home / "unbind").read_text() == (home / "bind").read_text() == "0000:01:00.0"


def test_unbind_waits_for_the_hosts_request(pf: SoftPf, vfs: Vfs, home: Path) -> None:
    """Nobody asks."""
    vfs.way()
    outcome = run(vfs, "unbind")
    assert outcome.status == "failed" and "request for the VF was not noticed" in outcome.reason
    assert (home / "unbind").read_text() == (home / "bind").read_text() == "0000:01:00.0"


def test_unbind_that_never_returns_is_told(pf: SoftPf, vfs: Vfs, home: Path) -> None:
    """The kernel's write waits until the last user has let go: here for ever, at a FIFO."""
    vfs.way()
    (home / "unbind").unlink()
    os.mkfifo(home / "unbind")
    threading.Timer(0.3, lambda: pf.control("request", vf=1)).start()
    outcome = run(vfs, "unbind")
    assert outcome.status == "failed"
    assert outcome.reason == "the host could not unbind the VF within 1 s"
    with (home / "unbind").open() as fifo:  # lets the write return
        assert fifo.read() == "0000:01:00.0"


def test_unbind_that_the_host_refuses_is_not_run(pf: SoftPf, vfs: Vfs, home: Path) -> None:
    vfs.way()
    (home / "unbind").unlink()
    (home / "unbind").mkdir()
    outcome = run(vfs, "unbind")
    assert outcome.status == "not run" and "does not unbind the VF" in outcome.reason
    assert (home / "bind").read_text() == "", "what was not unbound is not bound"


def test_a_vf_that_cannot_be_bound_again_is_told(pf: SoftPf, vfs: Vfs, home: Path) -> None:
    vfs.way()
    (home / "bind").unlink()
    (home / "bind").mkdir()
    Host(pf, home / "unbind")
    outcome = run(vfs, "unbind")
    assert outcome.status == "failed" and "cannot be bound again" in outcome.reason


def test_frames_that_are_lost_after_unbind(pf: SoftPf, vfs: Vfs, home: Path) -> None:
    vfs.way()
    spoil("lose", 7)(pf)
    Host(pf, home / "unbind")
    outcome = run(vfs, "unbind")
    assert outcome.status == "failed" and "frames lost" in outcome.reason, outcome.reason
