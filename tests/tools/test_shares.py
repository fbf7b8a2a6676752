# SPDX-License-Identifier: BSD-3-Clause
"""Shares of the tests, by which .ci/run takes half of them under a sanitizer."""

from __future__ import annotations

from tests.conftest import share_of


def test_each_test_is_in_one_share_and_shares_are_alike() -> None:
    names = [f"tests/port/test_life.py::test_{n}[e810-{n % 7}]" for n in range(3000)]
    shares = [share_of(names, f"{number}/3") for number in (1, 2, 3)]
    assert set().union(*shares) == set(names)
    assert sum(map(len, shares)) == len(names)
    assert all(len(share) > 900 for share in shares)


def test_a_share_does_not_change_with_its_neighbours() -> None:
    names = [f"test_{n}" for n in range(100)]
    assert share_of(names[:50], "1/2") == share_of(names, "1/2") & set(names[:50])
