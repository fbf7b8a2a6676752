# SPDX-License-Identifier: BSD-3-Clause
"""Vectors and sizes as the device is told them: plans, register values, CONFIG_VSI_QUEUES."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import iavfio
from iavfio._driver import lib
from iavfio.datapath.pair import PairDevice, QueuePair
from iavfio.datapath.pool import Pool
from iavfio.port.port import Port
from iavfio.port.vectors import Vector, VectorPlan, dyn_ctl, interval
from iavfio.softvf.launch import SoftPf
from tests.port.expected import snapshot
from tests.port.rig import send_all, udp, until, works

INTENA, CLEARPBA, WB_ON_ITR = 1 << 0, 1 << 1, 1 << 30  # docs/spec/registers.md 5.1
PAIR, HEADER = 64, 8  # bytes of CONFIG_VSI_QUEUES (docs/spec/virtchnl.md 5)


@pytest.fixture
def pool() -> Pool:
    return Pool(8192, huge="never")


# ---- the plan


@pytest.mark.parametrize(
    ("queues", "vectors", "served"),
    [
        (1, 2, [[0]]),
        (4, 5, [[0], [1], [2], [3]]),  # one each: vector 0 is the mailbox's
        (4, 17, [[0], [1], [2], [3]]),
        (4, 4, [[0, 3], [1], [2]]),
        (4, 2, [[0, 1, 2, 3]]),
        (16, 5, [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]),
    ],
)
def test_every_queue_has_a_vector_and_no_vector_is_left_out(
    queues: int, vectors: int, served: list[list[int]]
) -> None:
    plan = VectorPlan.make(queues, vectors, True)
    assert plan.vectors == tuple(Vector(n, tuple(some)) for n, some in enumerate(served, 1))
    assert plan.shared == any(len(some) > 1 for some in served)
    for vector, some in enumerate(served, 1):
        assert [plan.of(queue) for queue in some] == [vector] * len(some)
        assert [plan.first(queue) for queue in some] == [some[0]] * len(some)
        assert plan.vectors[vector - 1].bitmap == sum(1 << queue for queue in some)


def test_control_registers_of_queue_vectors_begin_with_vector_1() -> None:
    assert [dyn_ctl(vector) for vector in (0, 1, 2, 16)] == [0x5C00, 0x3800, 0x3804, 0x383C]


def test_intervals_are_in_units_of_two_microseconds() -> None:
    """INTERVAL stands in bits 5 to 16 of the register (docs/spec/registers.md 5.1)."""
    assert [interval(us) >> 5 for us in (0, 2, 4, 16, 32)] == [0, 1, 2, 8, 16]
    assert interval(1_000_000) >> 5 == 0xFF0  # 8160 us are the most
    for wb_on_itr in (True, False):
        plan = VectorPlan.make(1, 2, wb_on_itr)
        assert plan.sleep_ctl >> 5 & 0xFFF == 8
        assert plan.poll_ctl >> 5 & 0xFFF == (2 if wb_on_itr else 16)


def test_polling_raises_no_interrupt_where_the_device_writes_back_without() -> None:
    plan = VectorPlan.make(1, 2, True)
    assert plan.poll_ctl & (INTENA | CLEARPBA | WB_ON_ITR) == WB_ON_ITR
    plan = VectorPlan.make(1, 2, False)
    assert plan.poll_ctl & (INTENA | CLEARPBA | WB_ON_ITR) == INTENA | CLEARPBA


@pytest.mark.parametrize("wb_on_itr", [True, False])
def test_arming_for_sleep_keeps_what_is_pending(wb_on_itr: bool) -> None:
    """What came between the last look at the ring and the arming must wake the sleeper."""
    plan = VectorPlan.make(1, 2, wb_on_itr)
    assert plan.sleep_ctl & (INTENA | CLEARPBA | WB_ON_ITR) == INTENA


# ---- what a queue is given of it


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, PairDevice, int | None]]:
    """Queue, device side and companion of each pair that is brought up."""
    seen: list[tuple[int, PairDevice, int | None]] = []
    create = QueuePair.create

    def watched(pair: QueuePair, device: PairDevice, companion: QueuePair | None = None) -> Any:
        seen.append((pair.index, device, None if companion is None else companion.index))
        return create(pair, device, companion)

    monkeypatch.setattr(QueuePair, "create", watched)
    return seen


Made = list[tuple[int, PairDevice, "int | None"]]


def test_queues_that_share_a_vector_arm_it_and_no_other(pool: Pool, made: Made) -> None:
    options: dict[str, Any] = {"reset_ms": 1, "vectors": 3}
    with (
        iavfio.softvf(personality="x710", options=options) as pf,
        pf.open(0, pool=pool) as port,
    ):
        port.configure(queues=4, ring=64)
        port.start(wait_link=10)
        fds = port.control.interrupts.fds
        assert [(q, d.dyn_ctl, d.event_fd, first) for q, d, first in made] == [
            (0, 0x3800, fds[1], None),
            (1, 0x3804, fds[2], None),
            (2, 0x3800, fds[1], 0),
            (3, 0x3804, fds[2], 1),
        ]
        works(port)
        assert pf.violations() == []


@pytest.mark.parametrize("personality", ["e810", "x710", "x722"])
def test_polling_arms_the_vector_anew_exactly_where_there_is_no_wb_on_itr(
    pool: Pool, made: Made, personality: str
) -> None:
    with iavfio.softvf(personality=personality) as pf, pf.open(0, pool=pool) as port:
        port.start()
        ((_, device, _),) = made
        timed = bool(port.session.resources.caps & 1 << 5)  # VIRTCHNL_VF_OFFLOAD_WB_ON_ITR
        assert device.rearm is not timed
        assert bool(device.poll_ctl & WB_ON_ITR) is timed


@pytest.mark.parametrize("personality", ["e810", "x710"])
def test_a_sleeper_of_each_queue_is_woken_by_its_own_vector(
    pool: Pool, made: Made, personality: str
) -> None:
    with iavfio.softvf(personality=personality) as pf, pf.open(0, pool=pool) as port:
        port.configure(queues=3, rss=iavfio.Rss.make(lut=[2]))
        port.start(wait_link=10)
        got: list[bytes] = []

        def sleep() -> None:
            with port.rx[2].recv(timeout=20) as burst:
                got.extend(bytes(packet) for packet in burst)

        sleeper = threading.Thread(target=sleep)
        sleeper.start()
        bar = port.control.bar
        assert until(lambda: bool(bar.read32(dyn_ctl(3)) & INTENA))
        fds = port.control.interrupts.fds
        assert [device.event_fd for _, device, _ in made] == fds[1:4]
        assert len(set(fds)) == len(fds)
        frame = udp(port.mac, port.mac)
        send_all(port, [frame])
        sleeper.join(20)
        assert got == [frame]


# ---- sizes


def configured(pf: SoftPf) -> list[dict[str, int]]:
    """The queue pairs of the last CONFIG_VSI_QUEUES, read by offsets that are spelled out here."""
    (*_, payload) = [
        bytes.fromhex(entry["hex"])
        for entry in pf.control("journal", vf=0)["entries"]
        if entry["direction"] == "out" and entry["opcode"] == lib.VC_OP_CONFIG_VSI_QUEUES
    ]
    count = struct.unpack_from("<HH", payload)[1]
    found = []
    for at in range(HEADER, HEADER + PAIR * count, PAIR):
        tx_queue, tx_ring = struct.unpack_from("<HH", payload, at + 2)
        rx_queue, rx_ring = struct.unpack_from("<HI", payload, at + 24 + 2)
        buffer, most, crc, rxdid = struct.unpack_from("<IIBB", payload, at + 24 + 12)
        assert tx_queue == rx_queue
        told = {"queue": rx_queue, "tx_ring": tx_ring, "rx_ring": rx_ring, "buffer": buffer}
        found.append(told | {"most": most, "crc": crc, "rxdid": rxdid})
    return found


@pytest.fixture(params=["e810", "x710"])
def port(request: pytest.FixtureRequest, pool: Pool) -> Iterator[tuple[SoftPf, Port]]:
    with iavfio.softvf(personality=request.param) as pf, pf.open(0, pool=pool) as port:
        yield pf, port


@pytest.mark.parametrize("mtu", [68, 1500, 2021, 2022, 2023, 9000, 9702])
def test_the_pf_is_told_sizes_with_the_fcs(port: tuple[SoftPf, Port], mtu: int) -> None:
    """The device compares a frame with its FCS: 14 of Ethernet, two tags of 4, and 4 of FCS."""
    pf, opened = port
    opened.configure(mtu=mtu, queues=2, rx_ring=256, tx_ring=128)
    opened.start(wait_link=10)
    rxdid = 22 if opened.identity.family == "E810" else 0
    sizes = {"tx_ring": 128, "rx_ring": 256, "buffer": 2048, "most": mtu + 26}
    assert configured(pf) == [
        {"queue": queue, "crc": 0, "rxdid": rxdid} | sizes for queue in range(2)
    ]
    largest = udp(opened.mac, opened.mac, payload=bytes(mtu - 28))
    longest = largest[:12] + bytes.fromhex("8100006481000065") + largest[12:]
    assert len(longest) == mtu + 22
    with opened.tx[0].build([longest]) as burst:
        assert opened.tx[0].send(burst) == 1
    with pytest.raises(iavfio.ConfigError):
        opened.tx[0].build([longest + b"\0"])


@pytest.mark.parametrize(
    ("mtu", "scattered"), [(2022, False), (2023, True), (1500, False), (9000, True)]
)
def test_a_second_buffer_is_thought_of_when_the_fcs_alone_needs_it(
    port: tuple[SoftPf, Port], mtu: int, scattered: bool
) -> None:
    """A buffer has 2048 bytes, and a device may put the FCS there before it strips it."""
    _, opened = port
    opened.configure(mtu=mtu)
    (pair,) = opened.control.queues
    assert pair.settings.max_frame == mtu + 22
    assert pair.settings.scattered is scattered


def test_i40e_is_told_that_a_vector_which_is_left_serves_no_queue() -> None:
    """On ice a queue stays with its vector until another one takes it, whatever is said."""
    with iavfio.softvf(personality="x710") as pf, pf.open() as port:
        for queues in (4, 1, 2):
            port.configure(queues=queues)
            port.start()
            maps = snapshot(pf)["queues"]["vectors"]
            served = {int(vector): rx for vector, (rx, _) in maps.items() if rx}
            assert served == {1 + queue: 1 << queue for queue in range(queues)}
            port.stop()
