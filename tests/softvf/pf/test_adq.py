# SPDX-License-Identifier: BSD-3-Clause
"""Channels of the software X710: it has none, and says why not."""

from __future__ import annotations

import struct

import pytest

from tests.softvf.pf.pf_rig import LINUX_CAPS, Rig, rig

ADQ = 1 << 23
ENABLE_CHANNELS, ADD_CLOUD_FILTER, DEL_CLOUD_FILTER = 30, 32, 33
TWO = struct.pack("<II", 2, 0) + 2 * struct.pack("<HHIQ", 2, 0, 0, 0)


def spoof_check(pf: Rig, on: bool) -> None:
    pf.pf.control({"command": "spoofchk", "vf": 0, "on": on})


@pytest.mark.parametrize(
    ("checked", "caps", "violations", "notes"),
    [
        (True, LINUX_CAPS, ["channels while the VF's spoof check is on"], []),
        (False, LINUX_CAPS & ~ADQ, ["the ADQ capability was not granted"], []),
        (False, LINUX_CAPS, [], ["the software PF has no channels"]),
    ],
)
def test_channels_are_refused_for_the_reason_that_there_is(
    checked: bool, caps: int, violations: list[str], notes: list[str]
) -> None:
    with rig("x710") as pf:
        spoof_check(pf, checked)
        pf.negotiate(caps)
        resets = pf.snapshot()["resets"]
        assert pf.status(ENABLE_CHANNELS, TWO) == -22
        assert (pf.violations, pf.notes) == (
            [f"ENABLE_CHANNELS (30): {text}" for text in violations],
            [f"ENABLE_CHANNELS (30): {text}" for text in notes],
        )
        assert pf.snapshot()["resets"] == resets


def test_cloud_filters_want_channels() -> None:
    with rig("x710") as pf:
        spoof_check(pf, on=False)
        pf.negotiate(LINUX_CAPS)
        for opcode in (ADD_CLOUD_FILTER, DEL_CLOUD_FILTER):
            assert pf.status(opcode, bytes(272)) == -22
        assert pf.violations == [
            f"{name}: a cloud filter of a VF that has no channels"
            for name in ("ADD_CLOUD_FILTER (32)", "DEL_CLOUD_FILTER (33)")
        ]
