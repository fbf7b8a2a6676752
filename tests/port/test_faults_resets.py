# SPDX-License-Identifier: BSD-3-Clause
"""Resets at every point of a port's life, and what comes instead of one.

See docs/spec/reliability.md F9, F20-F35.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.errors import DeviceError, DeviceLost, IavfioError, ResetError, StateError
from iavfio.port import negotiation as session_module
from iavfio.port.events import PortEvent
from iavfio.port.port import Port
from iavfio.pyvfio import Bar
from iavfio.softvf.launch import SoftPf
from tests.port.rig import Options, healthy, lawful, send_all, storm_of_resets, udp, until, works

FAST: Options = {"reset_ms": 1}


@pytest.fixture(scope="module", params=["e810", "x710"])
def shared(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=2, personality=request.param, options=FAST) as pf:
        yield pf
        assert lawful(pf)


@pytest.fixture
def pf(shared: SoftPf) -> SoftPf:
    return shared


@pytest.fixture
def own() -> Iterator[SoftPf]:
    """One whose VF is left in ruins."""
    with iavfio.softvf(options=FAST) as pf:
        yield pf


@pytest.fixture
def pool() -> Pool:
    return Pool(2048, huge="never")


def recovered(port: Port, resets: int) -> bool:
    return until(lambda: len(port.resets) >= resets and port.state == "running")


def resets_of(pf: SoftPf) -> int:
    return int(pf.control("snapshot", vf=0)["snapshot"]["resets"])


class Injector:
    """Resets the VF just before the n-th register write."""

    def __init__(self, pf: SoftPf, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pf = pf
        self._write = Bar.write32
        self.left = -1
        self.writes = 0
        monkeypatch.setattr(Bar, "write32", self._patched())

    def _patched(self) -> Callable[[Bar, int, int], None]:
        def write(bar: Bar, offset: int, value: int) -> None:
            self.writes += 1
            self.left -= 1
            if self.left == 0:
                self._pf.control("reset", vf=0, notify=bool(self.writes % 2))
            self._write(bar, offset, value)

        return write


# docs/spec/reliability.md F20
def test_reset_at_every_register_write_of_open_and_start(
    pf: SoftPf, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    injector = Injector(pf, monkeypatch)

    def once(at: int) -> int:
        injector.left, injector.writes = at, 0
        began = time.monotonic()
        with pf.open(0, pool=pool) as port:
            port.configure(queues=2)
            port.start()
            assert until(lambda: port.state == "running", 5), port.notes
            total = injector.writes
            port.stop()
        assert time.monotonic() - began < 5
        assert healthy(pool)
        return total

    total = once(-1)
    assert total > 30
    for at in range(1, total + 1, 2):
        once(at)
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        works(port)


# docs/spec/reliability.md F20
def test_resets_every_few_milliseconds_while_opening_and_starting(pf: SoftPf, pool: Pool) -> None:
    with storm_of_resets(pf, 40, 0.005, 0.003):
        for _ in range(8):
            port = None
            try:
                port = pf.open(0, pool=pool)
                port.start()
                port.stop()
            except DeviceError:
                pass  # a reset too many; typed, and bounded by the attempts
            finally:
                if port is not None:
                    port.close()
            assert healthy(pool)
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        works(port)


# docs/spec/reliability.md F22
def test_exactly_one_reset_is_asked_for(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start()
        before = resets_of(pf)
        port.reset()
        port.reset()
        assert resets_of(pf) - before == 2
        pf.control("reset", vf=0)
        assert recovered(port, 3)
        assert resets_of(pf) - before == 3
        assert [reset.attempts for reset in port.resets] == [1, 1, 1]


def test_reset_seen_at_once_and_outage_counted_from_then(own: SoftPf, pool: Pool) -> None:
    with own.open(0, pool=pool) as port:
        port.start(wait_link=5)
        began = time.monotonic()
        own.control("reset", vf=0, notify=False, latency_ms=50)
        assert recovered(port, 1)
        whole = time.monotonic() - began
        assert 0.04 <= port.resets[0].outage <= whole
        assert port.resets[0].cause == "seen in the registers"


# docs/spec/reliability.md F25
def test_bus_master_and_interrupts_lost_in_a_function_level_reset_are_restored(
    pf: SoftPf, pool: Pool
) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        port.device.reset()
        assert recovered(port, 1), port.notes
        assert port.device.config.bus_master
        port.wait_link(5)
        frame = udp(port.mac, port.mac)
        timer = threading.Timer(0.1, lambda: send_all(port, [frame]))
        timer.start()
        with port.rx[0].recv(timeout=5) as burst:  # asleep: the interrupt must come
            assert [bytes(packet) for packet in burst] == [frame]
        timer.join()
    assert healthy(pool)


# docs/spec/reliability.md F27
def test_reset_that_never_completes_fails_and_the_port_can_be_reopened(
    own: SoftPf,
    pool: Pool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(session_module, "READY_DEADLINE", 0.2)
    monkeypatch.setattr(session_module, "SLOW_READY", 0.05)
    with own.open(0, pool=pool) as port:
        port.start()
        own.control("reset", vf=0, latency_ms=700)
        assert until(lambda: port.state == "failed", 5)
        assert "did not become active" in port.why_stopped()
        told = [text for text in caplog.messages if "has not finished the VF's reset" in text]
        assert len(told) == 1 and "it has 0.2 s in all" in told[0]
        with pytest.raises(StateError, match="did not become active"):
            port.rx[0].recv()
    assert healthy(pool)
    monkeypatch.setattr(session_module, "READY_DEADLINE", 5.0)
    with own.open(0, pool=pool) as port:
        port.start(wait_link=5)
        works(port)


def test_failed_port_recovers_when_asked(
    own: SoftPf, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "READY_DEADLINE", 0.1)
    with own.open(0, pool=pool) as port:
        port.start()
        own.control("reset", vf=0, latency_ms=400)
        assert until(lambda: port.state == "failed", 5)
        with pytest.raises(ResetError):
            port.recover()
        assert port.state == "failed"
        monkeypatch.setattr(session_module, "READY_DEADLINE", 5.0)
        port.recover()
        assert port.state == "running"
        port.wait_link(5)
        works(port)
    assert healthy(pool)


def test_close_does_not_wait_for_a_reset_that_takes_long(own: SoftPf, pool: Pool) -> None:
    port = own.open(0, pool=pool)
    port.start()
    own.control("reset", vf=0, latency_ms=30_000)
    assert until(lambda: port.state == "resetting", 5)
    began = time.monotonic()
    port.close()
    assert time.monotonic() - began < 2
    assert port.state == "closed"
    assert healthy(pool)


# docs/spec/reliability.md F35
def test_pf_that_goes_for_good_fails_the_port_and_comes_back_for_a_new_one(
    own: SoftPf, pool: Pool
) -> None:
    with own.open(0, pool=pool) as port:
        port.start()
        own.control("pf_driver", state="unload")
        assert until(lambda: port.state == "failed", 1)
        assert "gone" in port.why_stopped()
        with pytest.raises(DeviceLost):
            port.rx[0].recv()
        with pytest.raises(DeviceLost):
            port.tx[0].clean()
        with pytest.raises(DeviceLost, match=r"port.recover\(\) once it answers"):
            port.recover()
    assert healthy(pool)
    own.control("pf_driver", state="load")
    with own.open(0, pool=pool) as port:
        port.start(wait_link=5)
        works(port)


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("running", [True, False])
def test_pf_driver_that_is_loaded_again_gives_the_port_back(
    own: SoftPf, pool: Pool, announced: bool, running: bool
) -> None:
    """The remedy that the note names is true: no need to open the port anew."""
    with own.open(0, pool=pool) as port:
        port.configure(extra_macs=["02:00:00:00:00:71"])
        if running:
            port.start()
        if announced:
            own.control("pf_driver", state="close")
            assert until(lambda: any("PF_DRIVER_CLOSE" in note for note in port.notes), 5)
            assert port.state == ("running" if running else "stopped")
        for _ in range(2):
            own.control("pf_driver", state="unload")
            assert until(lambda: port.state == "failed", 2)
            own.control("pf_driver", state="load")
            port.recover()
            assert port.state == ("running" if running else "stopped")
            assert not any("PF_DRIVER_CLOSE" in note for note in port.notes[-1:])
        if not running:
            port.start()
        port.wait_link(5)
        works(port)
        assert "02:00:00:00:00:71" in own.control("snapshot", vf=0)["snapshot"]["macs"]
    assert healthy(pool)


def test_a_loss_that_only_c_has_seen_is_not_told_as_running(own: SoftPf, pool: Pool) -> None:
    with own.open(0, pool=pool) as port:
        port.start()
        port.control.queues.halt(-errno.ENODEV)
        with pytest.raises(DeviceLost, match="is gone: its queues were stopped"):
            port.rx[0].recv()
    assert healthy(pool)


def test_recover_of_a_port_whose_server_has_ended_stays_lost(pool: Pool) -> None:
    with iavfio.softvf(vfs=1) as pf:
        port = pf.open(0, pool=pool)
        port.start()
        pf.control("remove", vf=0)
        assert until(lambda: port.state == "failed", 5)
        for _ in range(2):
            with pytest.raises(DeviceLost, match="is gone"):
                port.recover()
        assert port.state == "failed"
        port.close()
    assert healthy(pool)


def test_pf_that_goes_during_a_reset_is_found_gone(
    own: SoftPf, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "GONE_DEADLINE", 0.2)
    with own.open(0, pool=pool) as port:
        port.start()
        own.control("reset", vf=0, latency_ms=10_000)
        assert until(lambda: port.state == "resetting", 5)
        own.control("gone", vf=0, on=True)
        assert until(lambda: port.state == "failed", 3)
        assert "gone" in port.why_stopped()
    assert healthy(pool)


# docs/spec/reliability.md F31
def test_all_ones_while_stopped_and_while_starting(own: SoftPf, pool: Pool) -> None:
    with own.open(0, pool=pool) as port:
        own.control("gone", vf=0, on=True)
        with pytest.raises(IavfioError, match=r"gone|failed"):
            port.start()
        assert until(lambda: port.state == "failed", 2)
    assert healthy(pool)


def test_hang_up_during_a_sleep_wakes_the_sleeper(own: SoftPf, pool: Pool) -> None:
    with own.open(0, pool=pool) as port:
        port.start()
        told: list[BaseException] = []

        def sleep() -> None:
            try:
                port.rx[0].recv(timeout=-1)
            except IavfioError as error:
                told.append(error)

        thread = threading.Thread(target=sleep)
        thread.start()
        own.control("disconnect", vf=0)
        thread.join(5)
        assert not thread.is_alive()
        assert isinstance(told[0], DeviceLost)
    assert healthy(pool)


# docs/spec/reliability.md F14
def test_events_are_told_in_order_and_callbacks_may_do_anything(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        seen: list[str] = []

        def nosy(event: PortEvent) -> None:
            seen.append(event.kind)
            port.refresh_stats()  # a request from within a callback
            raise ValueError("of no concern to anybody else")

        port.on_event.append(nosy)
        port.start()
        for n in (1, 2):
            pf.control("reset", vf=0)
            assert recovered(port, n)
        assert until(lambda: seen.count("recovered") == 2)
        assert seen.count("note") == 1, "that the callback fails is noted once"
        kinds = [kind for kind in seen if kind not in ("link", "note")]
        assert kinds == ["reset", "recovered"] * 2
        port.wait_link(5)
        works(port)
    assert healthy(pool)


@pytest.mark.parametrize("kind", ["reset", "recovered", "link"])
def test_port_closed_by_its_own_callback(pf: SoftPf, pool: Pool, kind: str) -> None:
    port = pf.open(0, pool=pool)
    port.start(wait_link=5)
    port.on_event.append(lambda event: port.close() if event.kind == kind else None)
    pf.control("reset", vf=0)
    assert until(lambda: port.state == "closed", 5)
    assert until(lambda: healthy(pool))
    with pf.open(0, pool=pool) as again:
        again.start(wait_link=5)
        works(again)


# docs/spec/reliability.md F9, F26
def test_mac_of_ours_that_the_host_overrules_is_given_up(own: SoftPf, pool: Pool) -> None:
    with own.open(0, pool=pool) as port:
        port.configure(mac="02:00:00:00:00:77")
        port.start(wait_link=5)
        own.control("mac", vf=0, mac="02:00:00:00:00:99")
        assert until(lambda: len(port.resets) == 1)
        assert port.state == "running", port.notes
        told = own.control("snapshot", vf=0)["snapshot"]
        assert port.mac.hex(":") in told["macs"]
        port.wait_link(5)
        works(port)


# docs/spec/reliability.md F26
def test_port_vlan_that_the_host_sets_takes_a_capability_and_that_is_noted(pool: Pool) -> None:
    with (
        iavfio.softvf(personality="x710", options=FAST) as own,
        own.open(0, pool=pool) as port,
    ):
        port.configure(metadata={"vlan"})
        port.start(wait_link=5)
        own.control("vlan", vf=0, vlan=100)
        assert recovered(port, 1), port.notes
        assert "since a reset the PF no longer grants VLAN" in port.notes
        port.wait_link(5)
        works(port)
        own.control("vlan", vf=0, vlan=0)
        assert recovered(port, 2), port.notes
        port.wait_link(5)
        works(port)
    assert healthy(pool)
