# SPDX-License-Identifier: BSD-3-Clause
"""Settings at the edge of what a VF can have: the last value that works, and the first that not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from iavfio._driver import lib
from iavfio.errors import ConfigError
from iavfio.port.identity import VENDOR, Identity
from iavfio.port.rss import Rss
from iavfio.port.settings import Limits, Settings, changed

GRANTED = lib.VC_CAP_RSS_PF | lib.VC_CAP_VLAN
LIMITS = Limits(queues=4, ring=4096, frame=9728, rss_key=52, rss_table=64, granted=GRANTED)


@pytest.mark.parametrize(
    ("frame", "mtu"),
    [(9728, 9702), (1526, 1500), (1522, 1496), (94, 68)],  # 22 of Ethernet and tags, 4 of FCS
)
def test_the_largest_mtu_is_what_the_pf_lets_through(frame: int, mtu: int) -> None:
    limits = replace(LIMITS, frame=frame)
    assert limits.mtu == mtu
    assert changed(Settings(mtu=68), limits, {"mtu": mtu}).frame + 4 == frame
    with pytest.raises(ConfigError, match=f"use mtu={mtu}"):
        changed(Settings(mtu=68), limits, {"mtu": mtu + 1})


@pytest.mark.parametrize(
    ("device", "family", "ring"),
    [
        (0x1889, "E810", 8160),
        (0x154C, "X710", 4096),
        (0x1571, "X710", 4096),
        (0x37CD, "X722", 4096),
    ],
)
def test_the_largest_ring_is_the_cards(device: int, family: str, ring: int) -> None:
    found = Identity(VENDOR, device, 2)
    assert (found.family, found.max_ring) == (family, ring)


@pytest.mark.parametrize(
    ("before", "change", "words"),
    [
        ({"queues": 2}, {"rss": Rss(lut=(0, 2))}, "names queue 2"),
        ({"queues": 4, "rss": Rss(lut=(0, 3))}, {"queues": 3}, "names queue 3"),
        ({}, {"rss": Rss(key=bytes([1] * 51))}, "key of 51 bytes"),
        ({}, {"rss": Rss(key=bytes([1] * 53))}, "key of 53 bytes"),
        ({}, {"rss": Rss(lut=(0,) * 65)}, "table of 65 entries"),
    ],
)
def test_what_fits_neither_queues_nor_pf_is_refused(
    before: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        changed(Settings(**before), LIMITS, change)


@pytest.mark.parametrize(
    ("before", "change"),
    [
        ({"queues": 2}, {"rss": Rss(lut=(0, 1))}),
        ({"queues": 4, "rss": Rss(lut=(0, 2))}, {"queues": 3}),
        ({}, {"rss": Rss(key=bytes([1] * 52))}),
        ({}, {"rss": Rss(lut=(0,) * 64)}),
        ({}, {"queues": 4}),
    ],
)
def test_what_just_fits_is_taken(before: dict[str, Any], change: dict[str, Any]) -> None:
    found = changed(Settings(**before), LIMITS, change)
    assert {name: getattr(found, name) for name in change} == change


def test_a_change_keeps_the_rest_and_a_ring_is_both() -> None:
    before = Settings(queues=2, mtu=1400, rx_ring=128, tx_ring=256)
    assert changed(before, LIMITS, {"ring": 512}) == replace(before, rx_ring=512, tx_ring=512)
    assert changed(before, LIMITS, {"ring": 512, "tx_ring": 64}) == replace(
        before, rx_ring=512, tx_ring=64
    )
    assert changed(before, LIMITS, {}) == before
