# SPDX-License-Identifier: BSD-3-Clause
"""The order of a port's steps, and who owns its buffers at each of them, as PF and device see it.

Whether traffic works again says nothing of that: a step too early is a race that is lost seldom.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import iavfio
from iavfio._driver import lib
from iavfio.datapath.pair import QueuePair
from iavfio.datapath.pool import Pool
from iavfio.errors import PfRefused
from iavfio.port.interrupts import Interrupts
from iavfio.port.negotiation import Session
from iavfio.port.port import Port
from iavfio.port.queue_set import QueueSet
from iavfio.port.vectors import dyn_ctl
from iavfio.pyvfio import Bar, Device
from iavfio.pyvfio.user import UserDevice
from iavfio.softvf.launch import SoftPf
from iavfio.virtchnl.adminq import AdminQueue
from iavfio.virtchnl.client import VirtchnlClient
from tests.port.expected import snapshot
from tests.port.rig import healthy, until, works

QUEUES = [0, 1]


@pytest.fixture(params=["e810", "x710"])
def pf(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    options: dict[str, Any] = {"reset_ms": 20, "trusted": True}
    with iavfio.softvf(personality=request.param, options=options) as pf:
        yield pf


@pytest.fixture
def port(pf: SoftPf) -> Iterator[Port]:
    with pf.open(0, pool=Pool(4096, huge="never")) as port:
        port.configure(queues=len(QUEUES))
        yield port


def sent(port: Port) -> list[int]:
    """Opcodes of the requests so far."""
    return [entry.opcode for entry in port.journal if entry.direction == "out"]


# ---- up


SETTINGS: list[tuple[dict[str, Any], int]] = [
    ({"rss": iavfio.Rss.make(key=bytes(range(52)))}, lib.VC_OP_CONFIG_RSS_KEY),
    ({"rss": iavfio.Rss.make(lut=[1, 0])}, lib.VC_OP_CONFIG_RSS_LUT),
    ({"rss": iavfio.Rss.make(fields=["ipv4-tcp"])}, lib.VC_OP_SET_RSS_HASHCFG),
    ({"promiscuous": True}, lib.VC_OP_CONFIG_PROMISCUOUS_MODE),
    ({"all_multicast": True}, lib.VC_OP_CONFIG_PROMISCUOUS_MODE),
    ({"extra_macs": ["02:00:00:00:02:00"]}, lib.VC_OP_ADD_ETH_ADDR),
]


@pytest.mark.parametrize(
    ("settings", "opcode"), SETTINGS, ids=[f"{next(iter(s))}-{op}" for s, op in SETTINGS]
)
def test_a_setting_is_asked_for_between_the_vectors_and_the_enabling(
    port: Port, settings: dict[str, Any], opcode: int
) -> None:
    """A queue that runs before would let packets in by the rules of the port's predecessor."""
    port.configure(**settings)
    for bring_up in (port.start, port.reset):
        before = len(sent(port))
        bring_up()
        asked = sent(port)[before:]
        asked = asked[asked.index(lib.VC_OP_CONFIG_VSI_QUEUES) :]
        enabled = asked.index(lib.VC_OP_ENABLE_QUEUES)
        assert asked[1] == lib.VC_OP_CONFIG_IRQ_MAP
        assert opcode in asked[2:enabled]
        if opcode != lib.VC_OP_ADD_ETH_ADDR:  # by which it is found out whether the VF is trusted
            assert opcode not in asked[enabled:]
        assert asked.count(lib.VC_OP_ENABLE_QUEUES) == 1


def test_callers_come_in_only_when_the_pf_has_enabled_all_queues(
    pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    start = QueuePair.start

    def watched(pair: QueuePair) -> None:
        seen.append(snapshot(pf)["queues"]["enabled_rx"])
        start(pair)

    monkeypatch.setattr(QueuePair, "start", watched)
    for bring_up in (port.start, port.reset):
        seen.clear()
        bring_up()
        assert seen == [QUEUES] * len(QUEUES)


def test_receive_rings_are_stocked_before_the_pf_hears_of_them(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    enable = Session.enable_queues

    def watched(session: Session, bitmap: int) -> None:
        seen.append(port.pool.held)
        enable(session, bitmap)

    monkeypatch.setattr(Session, "enable_queues", watched)
    for bring_up in (port.start, port.reset):
        seen.clear()
        bring_up()
        assert seen[0] >= len(QUEUES) * (512 - 32)


def test_a_start_that_the_pf_refuses_leaves_no_queue_and_no_wish_to_run(
    pf: SoftPf, port: Port
) -> None:
    """A reset that comes later finds a stopped port, and leaves it stopped."""
    settings = port.settings
    pf.control("fault", vf=0, kind="retval", opcode=lib.VC_OP_ENABLE_QUEUES, value=-5)
    with pytest.raises(PfRefused):
        port.start()
    assert (port.state, port.settings) == ("stopped", settings)
    assert healthy(port.pool)
    pf.control("reset", vf=0)
    assert until(lambda: len(port.resets) == 1 and port.state != "resetting")
    assert port.state == "stopped"
    assert snapshot(pf)["queues"]["enabled_rx"] == []
    port.start(wait_link=10)
    works(port)


# ---- down


class Drains:
    """What PF and device said each time that a port took its buffers back."""

    def __init__(self, pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[dict[str, Any]] = []
        drain = QueueSet.drain

        def watched(queues: QueueSet) -> None:
            told = snapshot(pf)
            self.seen.append(
                {
                    "state": told["state"],
                    "rx": told["queues"]["enabled_rx"],
                    "tx": told["queues"]["enabled_tx"],
                    "bus_master": port.device.config.bus_master,
                }
            )
            drain(queues)

        monkeypatch.setattr(QueueSet, "drain", watched)


def test_buffers_come_back_from_a_stop_when_the_pf_has_disabled_the_queues(
    pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    for end in (port.stop, port.close):
        if port.state == "stopped":
            port.start(wait_link=10)
        with monkeypatch.context() as patch:
            drains = Drains(pf, port, patch)
            end()
        first = drains.seen[0]
        assert (first["rx"], first["tx"], first["bus_master"]) == ([], [], True), end


def _told(pf: SoftPf, port: Port) -> None:
    pf.control("reset", vf=0)


def _untold(pf: SoftPf, port: Port) -> None:
    pf.control("reset", vf=0, notify=False)


def _by_function(pf: SoftPf, port: Port) -> None:
    port.device.reset()


def _own(pf: SoftPf, port: Port) -> None:
    port.reset()


@pytest.mark.parametrize("reset", [_told, _untold, _by_function, _own])
def test_buffers_come_back_from_a_reset_when_the_pf_has_finished_it(
    pf: SoftPf,
    port: Port,
    monkeypatch: pytest.MonkeyPatch,
    reset: Callable[[SoftPf, Port], None],
) -> None:
    port.start(wait_link=10)
    with monkeypatch.context() as patch:
        drains = Drains(pf, port, patch)
        reset(pf, port)
        assert until(lambda: len(port.resets) == 1 and port.state == "running")
    assert drains.seen
    for seen in drains.seen:
        assert (seen["state"], seen["rx"], seen["tx"]) == ("init", [], [])


def test_buffers_come_back_from_a_silent_pf_when_bus_master_is_off(
    pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has said that the queues are disabled: the device may write as long as it can."""
    port.start(wait_link=10)
    pf.control("fault", vf=0, kind="lose", count=1_000_000)
    with monkeypatch.context() as patch:
        drains = Drains(pf, port, patch)
        port.close(within=0.3)
    assert drains.seen and not drains.seen[0]["bus_master"]
    assert healthy(port.pool)


def test_nobody_is_inside_a_queue_when_its_disabling_is_asked_for(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who posts to a queue that is being disabled gives buffers to a device that forgets them."""
    seen: list[list[int]] = []
    disable = Session.disable_queues

    def watched(session: Session, bitmap: int) -> None:
        seen.append([int(lib.pair_waiting(pair.raw)) for pair in port.control.queues])
        assert bitmap == 0b11
        disable(session, bitmap)

    monkeypatch.setattr(Session, "disable_queues", watched)
    for end in (port.stop, port.close):
        if port.state == "stopped":
            port.start()
        end()
    assert seen == [[-errno.ESHUTDOWN] * len(QUEUES)] * 2


def test_a_port_that_closes_leaves_the_device_nothing(
    pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at before the device is let go, whose own reset would mend what was left."""
    fresh = snapshot(pf)
    port.configure(
        mac="02:00:00:00:01:00", extra_macs=["02:00:00:00:02:00"], promiscuous=True, queues=2
    )
    port.start(wait_link=10)
    left: dict[str, Any] = {}
    release, write = UserDevice.close, Bar.write32

    def noted(bar: Bar, offset: int, value: int) -> None:
        write(bar, offset, value)
        if offset == lib.REG_VFINT_DYN_CTL01:  # its INTENA ends by itself when it fires
            left["vector"] = value

    def watched(device: UserDevice) -> None:
        left.update(snapshot(pf))
        bar = port.control.bar
        left["mailbox"] = bar.read32(lib.REG_VF_ATQLEN1) | bar.read32(lib.REG_VF_ARQLEN1)
        left["rings"] = [pair.rings for pair in port.control.queues]
        left["held"] = port.pool.held
        left["mapped"] = port.pool.mapped_in(device.space)
        release(device)

    monkeypatch.setattr(UserDevice, "close", watched)
    monkeypatch.setattr(Bar, "write32", noted)
    port.close()
    assert left["queues"]["enabled_rx"] == left["queues"]["enabled_tx"] == []
    assert left["promisc"] == {"unicast": False, "multicast": False}
    assert "02:00:00:00:02:00" not in left["macs"]
    if fresh["personality"] != "e810":  # ice keeps an own address where it gave none
        assert (left["macs"], left["primary_mac"]) == (fresh["macs"], fresh["primary_mac"])
    assert (left["mailbox"], left["vector"]) == (0, 0)
    assert (left["held"], left["mapped"], left["rings"]) == (0, False, [None] * len(QUEUES))


# ---- resets


class Calls:
    """How often a device was reset by PCI, and the VF by a message."""

    def __init__(self, port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
        self.port, self.function = port, 0
        reset = Device.reset

        def watched(device: Device) -> None:
            self.function += 1
            reset(device)

        monkeypatch.setattr(Device, "reset", watched)
        self._before = len(sent(port))

    @property
    def messages(self) -> int:
        return sent(self.port)[self._before :].count(lib.VC_OP_RESET_VF)


def test_a_reset_is_asked_of_the_pf_and_of_the_function_only_where_it_is_deaf(
    pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iavfio.port.negotiation.SEEN_DEADLINE", 0.2)
    port.start(wait_link=10)
    before = snapshot(pf)["resets"]
    calls = Calls(port, monkeypatch)
    assert port.reset().attempts == 1
    assert (calls.messages, calls.function, snapshot(pf)["resets"] - before) == (1, 0, 1)
    pf.control("fault", vf=0, kind="lose", opcode=lib.VC_OP_RESET_VF)
    assert port.reset().attempts == 1
    assert (calls.messages, calls.function, snapshot(pf)["resets"] - before) == (2, 1, 2)
    port.wait_link(10)
    works(port)


def test_a_function_without_bus_master_is_reset_by_pci_alone(
    pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could fetch no message: one that is posted to it would be fetched when it may again."""
    port.start(wait_link=10)
    port.device.config.bus_master = False
    calls = Calls(port, monkeypatch)
    port.reset()
    assert (calls.messages, calls.function) == (0, 1)
    assert port.device.config.bus_master
    port.wait_link(10)
    works(port)


def test_a_reset_that_is_over_is_not_recovered_again(pf: SoftPf, port: Port) -> None:
    """The watchdog's thread may wait for the lock while somebody else has recovered the port."""
    port.start(wait_link=10)
    port.reset()
    before = snapshot(pf)["resets"]
    port.control.housekeeping.reset_seen()
    assert (len(port.resets), snapshot(pf)["resets"]) == (1, before)
    works(port)


def test_nothing_is_asked_before_the_pf_says_that_the_vf_is_active(
    port: Port, pf: SoftPf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At COMPLETED hardware is ready and the PF still allocates (docs/spec/virtchnl.md 8)."""
    personality = snapshot(pf)["personality"]
    options: dict[str, Any] = {"reset_ms": 1, "completed_ms": 60}
    with (
        iavfio.softvf(personality=personality, options=options) as slow,
        slow.open(0, pool=port.pool) as late,
    ):
        late.start(wait_link=10)
        states: list[int] = []
        start = AdminQueue.start

        def watched(queue: AdminQueue) -> None:
            states.append(late.session.rstat())
            start(queue)

        monkeypatch.setattr(AdminQueue, "start", watched)
        late.reset()
        slow.control("reset", vf=0)
        assert until(lambda: len(late.resets) == 2 and late.state == "running")
        assert states == [lib.RSTAT_VFACTIVE] * 2
        assert [reset.attempts for reset in late.resets] == [1, 1]
        assert snapshot(slow)["resets"] == 2


def test_interrupts_come_back_before_the_mailbox(
    pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function-level reset from outside takes MSI-X: the first reply would wake nobody."""
    steps: list[str] = []
    start = AdminQueue.start

    def watched(queue: AdminQueue) -> None:
        steps.append("mailbox")
        start(queue)

    def looked_at(interrupts: Interrupts) -> bool:
        steps.append("interrupts")
        return False

    monkeypatch.setattr(AdminQueue, "start", watched)
    monkeypatch.setattr(Interrupts, "lost", property(looked_at))
    port.start(wait_link=10)
    for reset in (_own, _told, _by_function):
        steps.clear()
        known = len(port.resets)
        reset(pf, port)
        assert until(lambda n=known: len(port.resets) > n and port.state == "running")  # type: ignore[misc]
        assert steps == ["interrupts", "mailbox"]


def test_a_reset_is_told_as_what_it_was(
    pf: SoftPf, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notice counts for the reset that follows it soon, and for no later one."""
    port.start()
    counters = port.session.client.counters
    for number, announced in enumerate((True, False, True), 1):
        if number == 3:
            monkeypatch.setattr("iavfio.port.housekeeping.STALE_NOTICE", 0.0)
        if announced:
            heard = counters.reset_notices
            pf.control("send", vf=0, opcode=lib.VC_OP_EVENT, payload="02000000" + "00" * 12)
            assert until(lambda n=heard: counters.reset_notices > n)  # type: ignore[misc]
        pf.control("reset", vf=0, notify=False)
        assert until(lambda n=number: len(port.resets) == n and port.state == "running")  # type: ignore[misc]
    causes = [reset.cause for reset in port.resets]
    assert causes == ["announced by the PF", "seen in the registers", "seen in the registers"]


def test_the_link_is_down_from_a_reset_until_the_pf_tells_it_anew(pf: SoftPf, port: Port) -> None:
    port.start(wait_link=10)
    before = port.link
    assert before.up and before.mbps > 0
    pf.control("reset", vf=0, latency_ms=300)
    assert until(lambda: port.state == "resetting")
    assert (port.link.up, port.link.mbps) == (False, 0)
    assert not port.stats.snapshot().link_up
    assert until(lambda: port.state == "running")
    after = port.wait_link(10)
    assert (after.up, after.mbps) == (before.up, before.mbps)
    told = port.stats.snapshot()
    assert (told.link_up, told.link_mbps, told.mac) == (True, before.mbps, port.mac.hex(":"))


def test_the_mailbox_is_armed_before_it_is_read(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other way round a message that comes between the two would raise no interrupt."""
    me, steps = threading.get_ident(), list[str]()
    write, service = Bar.write32, VirtchnlClient.service

    def written(bar: Bar, offset: int, value: int) -> None:
        if threading.get_ident() == me and offset == dyn_ctl(0):
            steps.append("armed")
        write(bar, offset, value)

    def read(client: VirtchnlClient) -> None:
        if threading.get_ident() == me:
            steps.append("read")
        service(client)

    port.start()
    monkeypatch.setattr(Bar, "write32", written)
    monkeypatch.setattr(VirtchnlClient, "service", read)
    assert until(port.control.housekeeping.mailbox_fired)
    assert steps == ["armed", "read"]
