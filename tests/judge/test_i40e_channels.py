# SPDX-License-Identifier: BSD-3-Clause
"""Channels (ADQ) of a VF of i40e's: its queues lie in several VSIs, and none is its neighbour's."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from iavfio.linuxpf.process import JudgeProcess, What
from iavfio.softvf.linux_pf.i40e.queues import Queues, decode
from iavfio.softvf.linux_pf.i40e.switch import Switch
from iavfio.softvf.linux_pf.queues import Vector
from tests.judge.conftest import I40E_KERNELS, kernel_of
from tests.judge.i40e_pair import VERSION_1_1, Step
from tests.judge.i40e_scenarios import ADQ, add, channels, disable, enable, mac, mapped, resources
from tests.softvf.pf.pf_rig import config_queues, pair

ALL = 0b1111  # the queues that each VF runs
DISABLE_CHANNELS = Step(31)


class Host:
    """VFs 0 to 3 of one PF."""

    def __init__(self, process: JudgeProcess) -> None:
        self._process = process
        self.switch = Switch()
        self.switch.commands(process.start.commands)

    def ask(self, what: What, vf: int, value: int = 0, payload: bytes = b"") -> list[int]:
        """The status of each message to the VF."""
        answer = self._process.request(what, vf, value, payload)
        self.switch.commands(answer.commands)
        return [status for _, status, _ in self._process.replies(answer, vf)]

    def say(self, vf: int, *steps: Step) -> None:
        """Messages of a VF's, none of which is refused."""
        for step in steps:
            assert not any(self.ask(What.MESSAGE, vf, step.opcode, step.payload)), step

    def queues(self, vf: int) -> Queues:
        return decode(self._process.request(What.QUEUES, vf).queues)

    def run(self, vf: int, caps: int = ADQ) -> None:
        """A driver starts four queues."""
        self.say(vf, Step(1, VERSION_1_1), resources(caps))
        self.set_up(vf)

    def set_up(self, vf: int) -> None:
        vsi = 10 + vf
        rings = [
            pair(vsi, queue, rx_ring=ring(vf, queue), tx_ring=ring(vf, queue) + 0x800)
            for queue in range(4)
        ]
        self.say(
            vf,
            Step(6, config_queues(vsi, *rings)),
            mapped((vsi, 1, ALL, ALL, 0, 1)),
            enable(ALL, ALL, vsi=vsi),
        )

    def rings(self, vf: int) -> tuple[dict[int, int], dict[int, int]]:
        """Where the rings lie of the queues that the card runs for a VF, by its number.

        One without a context stands still: ENABLE_QUEUES names queues of the first VSI as well
        that are none of its channel's.
        """
        queues = self.queues(vf)
        return (
            {queue: context.ring for queue, context in queues.rx.items() if context.entries},
            {queue: context.ring for queue, context in queues.tx.items() if context.entries},
        )


def ring(vf: int, queue: int) -> int:
    return (vf + 1) << 20 | queue << 12


def own_rings(vf: int) -> tuple[dict[int, int], dict[int, int]]:
    receive = {queue: ring(vf, queue) for queue in range(4)}
    return receive, {queue: at + 0x800 for queue, at in receive.items()}


@pytest.fixture(params=I40E_KERNELS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """VF 1 runs four queues; VF 0 is trusted, its spoof check off. Nobody was here before."""
    with JudgeProcess(kernel_of("i40e", request.param)) as process:
        made = Host(process)
        made.ask(What.TRUST, 0, 1)
        made.ask(What.SPOOFCHK, 0, 0)
        made.run(1)
        assert made.rings(1) == own_rings(1)
        yield made


def make_channels(host: Host, *queues: int) -> None:
    host.say(0, Step(1, VERSION_1_1), resources(ADQ), channels(*queues))


@pytest.mark.parametrize("asked", [1, 4, 16])
@pytest.mark.parametrize("counts", [(2, 2), (4,), (4, 4, 4, 4), (1, 3)])
def test_no_queue_is_a_neighbours(host: Host, counts: tuple[int, ...], asked: int) -> None:
    """Whatever number of queues each VSI was given before."""
    host.say(0, Step(1, VERSION_1_1), resources(ADQ), Step(29, struct.pack("<H", asked)))
    make_channels(host, *counts)
    host.say(0, Step(1, VERSION_1_1), resources(ADQ))
    told = host.queues(0)
    assert (told.pairs, told.rx, told.tx) == (16, {}, {})
    assert {*told.vectors} == {Vector()}
    assert host.rings(1) == own_rings(1)
    host.say(0, enable(0xFFFF, 0xFFFF))
    rings = {ring(1, queue) for queue in range(4)}
    assert rings.isdisjoint(host.rings(0)[0].values())
    assert host.rings(1) == own_rings(1)


def test_queues_of_channels_are_in_their_vsis(host: Host) -> None:
    """What the VF says of queue 2 is the first queue of the second channel's."""
    make_channels(host, 2, 2)
    host.run(0)
    assert host.rings(0) == own_rings(0)
    assert host.queues(0).vectors[1] == Vector(ALL, ALL, 0, 1)
    assert host.rings(1) == own_rings(1)


@pytest.mark.parametrize("what", [What.FLR, What.TRUST])
def test_a_reset_stops_the_queues_of_channels(host: Host, what: What) -> None:
    """Those of the VF alone."""
    make_channels(host, 2, 2)
    host.run(0)
    host.ask(what, 0)
    if what is What.TRUST:  # no reset on newer kernels
        host.say(0, Step(2))
    assert host.rings(0) == ({}, {})
    assert host.rings(1) == own_rings(1)
    assert host.switch.channels(0) == 1, "channels outlive resets"


def test_channels_that_are_gone_leave_no_queue_running(host: Host) -> None:
    """VF 2 takes the queues of the channel, and none of them runs."""
    make_channels(host, 2, 2)
    host.run(0)
    host.say(0, DISABLE_CHANNELS)
    assert host.rings(0) == ({}, {})
    host.say(2, Step(1, VERSION_1_1), resources(ADQ), Step(29, struct.pack("<H", 16)))
    assert host.queues(2).pairs == 16
    assert host.rings(2) == ({}, {})
    host.run(0)
    assert (host.rings(0), host.rings(1)) == (own_rings(0), own_rings(1))


def test_a_vf_stops_the_queues_of_the_next(host: Host) -> None:
    """i40e lets it; queues of the VF itself are none of them (docs/spec/pf-dialects.md 5)."""
    host.run(0)
    host.say(0, disable(0xF0, 0xF0))
    assert host.rings(0) == own_rings(0)
    assert host.rings(1) == ({}, {})
    host.say(0, enable(0xF0, 0xF0))
    assert host.rings(0) == own_rings(0)
    assert host.rings(1) == own_rings(1)


def test_channels_leave_the_first_vsi_its_addresses(host: Host) -> None:
    """The VSI of a channel has a number of its own, and no filter."""
    make_channels(host, 2, 1, 1)
    host.say(0, Step(1, VERSION_1_1), resources(ADQ), add(mac(1)))
    first = host.switch.vsi(0)
    assert first is not None and host.switch.channels(0) == 2
    assert first.macs == (bytes.fromhex(mac(1).replace(":", "")),)
    assert not first.check_mac
    other = host.switch.vsi(1)
    assert other is not None and other.check_mac and host.switch.channels(1) == 0
    host.say(0, DISABLE_CHANNELS)
    assert host.switch.channels(0) == 0 and host.switch.vsi(0) is not None
