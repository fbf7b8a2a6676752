# SPDX-License-Identifier: BSD-3-Clause
"""RSS keys, tables, hash functions and packet classes."""

from __future__ import annotations

import struct

import pytest

from tests.softvf.pf.pf_rig import (
    CARDS,
    PARAM,
    rig,
    rss_key,
    rss_lut,
)


@pytest.mark.parametrize("card", CARDS)
def test_key_and_table(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        key, lut = bytes(range(52)), bytes(i % 4 for i in range(64))
        assert pf.status(23, rss_key(pf.vsi, key)) == 0
        assert pf.status(24, rss_lut(pf.vsi, lut)) == 0
        assert (pf.config.rss_key, pf.config.rss_lut) == (key, lut)
        assert pf.status(23, rss_key(pf.vsi, bytes(40))) == PARAM[card]
        assert pf.status(24, rss_lut(pf.vsi, bytes(128))) == PARAM[card]
        assert (pf.config.rss_key, pf.config.rss_lut) == (key, lut)


def test_a_table_that_names_a_queue_too_many() -> None:
    for card, status in (("x710", -22), ("e810", 0)):
        with rig(card, num_queue_pairs=4) as pf:
            pf.negotiate()
            assert pf.status(24, rss_lut(pf.vsi, bytes(63) + b"\4")) == status
            assert len(pf.violations) == 1


@pytest.mark.parametrize("card", CARDS)
def test_packet_classes(card: str) -> None:
    bits = [31, 33, 34, 35, 36, 41, 43, 44, 45, 46]
    if card != "x710":
        bits += [29, 30, 32, 39, 40, 42]
    if card != "e810":
        bits.append(63)
    wanted = sum(1 << bit for bit in bits)
    with rig(card) as pf:
        pf.negotiate()
        assert pf.ask(25) == (0, struct.pack("<Q", wanted))
        assert pf.config.hashcfg == wanted
        assert pf.config.x722_classes is (card == "x722")
        assert pf.status(26, struct.pack("<Q", 1 << 34)) == 0
        # ice hashes the addresses of what else is IPv4 with any class of it.
        assert pf.config.hashcfg == (7 << 34 if card == "e810" else 1 << 34)
        assert pf.status(26, struct.pack("<Q", 1 << 34 | 1 << 20)) == (-53 if card == "e810" else 0)
        assert pf.config.hashcfg == (0 if card == "e810" else 1 << 34)
        assert pf.status(26, bytes(8)) == 0
        assert pf.config.hashcfg == 0


@pytest.mark.parametrize(
    ("asked", "hashed"),
    [
        ([29], [29, 30, 31, 35, 36]),
        ([32], [32, 33, 35, 36]),
        ([40], [39, 40, 41, 45, 46]),
        ([43], [42, 43, 45, 46]),
        ([44], [44, 45, 46]),
        ([35], [35, 36]),
        ([46], [45, 46]),
    ],
)
def test_ice_knows_no_finer_classes(asked: list[int], hashed: list[int]) -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(26, struct.pack("<Q", sum(1 << bit for bit in asked))) == 0
        assert pf.config.hashcfg == sum(1 << bit for bit in hashed)


def test_ice_refuses_the_payload_class() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(26, struct.pack("<Q", 1 << 33 | 1 << 63)) == -53
        assert pf.config.hashcfg == 0


def test_hash_function() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        for algorithm in (2, 1, 2, 3, 2, 0):
            assert pf.status(18, struct.pack("<HHI", 1, algorithm, 0)) == 0
            assert pf.config.symmetric is (algorithm == 2)


def test_hashcfg_refused_by_option() -> None:
    with rig("e810", hashcfg_refused=True) as pf:
        pf.negotiate()
        assert pf.status(26, bytes(8)) == -64
        assert pf.violations == []


def test_tables_after_power_on() -> None:
    with rig("e810", num_queue_pairs=4) as pf:
        assert pf.config.rss_lut == bytes((0, 1, 2, 3)) * 16
    with rig("x710") as pf:
        assert pf.config.rss_lut == bytes(64)


def test_the_symmetric_function_brings_all_packet_classes_back() -> None:
    """ice goes through every profile that the VF has ever had; back to Toeplitz it does not."""
    with rig("e810") as pf:
        pf.negotiate()
        whole = pf.config.hashcfg
        few = struct.pack("<Q", 1 << 33)

        def choose(algorithm: int) -> int:
            assert pf.status(18, struct.pack("<HHI", 1, algorithm, 0)) == 0
            return pf.config.hashcfg

        assert pf.status(26, few) == 0
        assert choose(0) < whole, "nothing changes"
        assert choose(2) == whole
        assert pf.status(26, few) == 0
        assert choose(2) < whole
        assert choose(0) < whole
