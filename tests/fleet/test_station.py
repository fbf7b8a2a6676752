# SPDX-License-Identifier: BSD-3-Clause
"""A host of a fleet opens its port as it is asked, or says what keeps it from that."""

from __future__ import annotations

from typing import Any

import pytest

import iavfio
from iavfio.fleet.orders import OpenOrder, PortFacts, Trouble
from iavfio.fleet.station import Station


def opened(options: dict[str, Any], **given: Any) -> PortFacts | Trouble:
    with iavfio.softvf(options=options) as pf:
        ordered = OpenOrder(
            host="a",
            port=pf.sockets[0],
            queues=1,
            ring=64,
            version=iavfio.__version__,
            **given,
        )
        station = Station()
        try:
            return station.open(ordered)
        finally:
            station.close()


@pytest.mark.parametrize(
    ("options", "mtu", "sizes", "words"),
    [
        ({"max_mtu": 1522}, None, (64, 1523), "the PF lets at most 1522 bytes through, with FCS"),
        ({"max_mtu": 1522}, None, (9018,), "the PF lets at most 1522 bytes through, with FCS"),
        ({}, 1500, (64, 9018), "leave mtu out of [traffic]: the sizes decide then"),
        ({}, 1500, (1527,), "leave mtu out of [traffic]: the sizes decide then"),
    ],
)
def test_frames_that_are_too_long_are_told_with_the_remedy(
    options: dict[str, Any], mtu: int | None, sizes: tuple[int, ...], words: str
) -> None:
    trouble = opened(options, mtu=mtu, sizes=sizes)
    assert isinstance(trouble, Trouble)
    assert trouble.what == f"frames of {max(sizes)} bytes cannot be sent"
    assert words in trouble.remedy


@pytest.mark.parametrize(
    ("options", "mtu", "sizes"),
    [({"max_mtu": 1522}, None, (64, 1522)), ({}, 1500, (1526,)), ({}, None, (9018,))],
)
def test_the_longest_frame_that_fits_is_no_trouble(
    options: dict[str, Any], mtu: int | None, sizes: tuple[int, ...]
) -> None:
    assert isinstance(opened(options, mtu=mtu, sizes=sizes), PortFacts)
