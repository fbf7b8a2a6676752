# SPDX-License-Identifier: BSD-3-Clause
"""Resets of VFs whose PF is Linux's own i40e or ice, each in another's waiting time."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable

import pytest

from iavfio.linuxpf.build import I40E
from iavfio.softvf._device import lib
from tests.judge.conftest import LIVE
from tests.judge.live_rig import Live, live
from tests.softvf.pf.pf_rig import config_queues, pair, select

LEAD, RESET = 100, 60  # milliseconds
VERSION = struct.pack("<II", 1, 1)


def own(rig: Live) -> None:
    rig.say(0, lib.VC_OP_RESET_VF)


def flr(rig: Live) -> None:
    rig.hardware[0].begin_reset()
    rig.pf.flr(0)


def gone(rig: Live) -> None:
    rig.pf.client_gone(0)
    flr(rig)


EACH: dict[str, Callable[[Live], object]] = {
    "reset": lambda rig: rig.control("reset", vf=0),
    "at once": lambda rig: rig.control("reset", vf=0, notify=False, latency_ms=0),
    "pf_reset": lambda rig: rig.control("pf_reset", kind="pfr", latency_ms=2 * RESET),
    "mac": lambda rig: rig.control("mac", vf=0, mac="02:00:00:00:00:33"),
    "own": own,
    "flr": flr,
    "gone": gone,
}


@pytest.mark.parametrize("name", LIVE)
def test_a_vf_comes_back_from_resets_in_each_others_time(name: str) -> None:
    """Also where the second comes before the first has begun, and in the driver's half."""
    with live(name, 2, notice_lead_ms=LEAD, reset_ms=RESET) as rig:
        pauses = (0, LEAD / 2, LEAD + RESET / 2)
        for first, second, pause in itertools.product(EACH, EACH, pauses):
            EACH[first](rig)
            rig.clock.advance(pause)
            EACH[second](rig)
            rig.clock.advance(LEAD + 2 * RESET)
            assert rig.clock.waiting == 0
            for vf in (0, 1):
                assert rig.hardware[vf].rstat[-1] == 2, (first, pause, second)
                assert rig.say(vf, lib.VC_OP_VERSION, VERSION)[0][:2] == (lib.VC_OP_VERSION, 0)
            resources = rig.say(0, lib.VC_OP_GET_VF_RESOURCES, struct.pack("<I", 3))
            assert resources[0][:2] == (lib.VC_OP_GET_VF_RESOURCES, 0), (first, pause, second)


@pytest.mark.parametrize("name", [name for name in LIVE if I40E.name in name])
def test_queues_that_a_neighbour_switches_are_switched(name: str) -> None:
    """i40e counts the bits of a mask from a VF's first queue on, whosever queues those are."""
    with live(name, 2) as rig:
        for vf in (0, 1):
            vsi = rig.pf.personality.vsi_id(vf)
            rig.say(vf, lib.VC_OP_VERSION, VERSION)
            rig.say(vf, lib.VC_OP_GET_VF_RESOURCES, struct.pack("<I", 3))
            queues = config_queues(vsi, *(pair(vsi, queue) for queue in range(4)))
            assert rig.say(vf, lib.VC_OP_CONFIG_VSI_QUEUES, queues)[0][1] == 0
            assert rig.say(vf, lib.VC_OP_ENABLE_QUEUES, select(vsi, 15, 15))[0][1] == 0
        neighbour, vsi = rig.pf.vfs[1], rig.pf.personality.vsi_id(0)
        rig.say(0, lib.VC_OP_DISABLE_QUEUES, select(vsi, 0x50, 0x20))
        assert (sorted(neighbour.running_rx), sorted(neighbour.running_tx)) == ([1, 3], [0, 2, 3])
        rig.say(0, lib.VC_OP_ENABLE_QUEUES, select(vsi, 0x10, 0x20))
        assert (sorted(neighbour.running_rx), sorted(neighbour.running_tx)) == (
            [0, 1, 3],
            [0, 1, 2, 3],
        )
