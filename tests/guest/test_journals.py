# SPDX-License-Identifier: BSD-3-Clause
"""The journals that docs/guides/negotiation.md compares are what the drivers say today."""

from __future__ import annotations

import pytest

from iavfio.virtchnl.journal import Entry, Journal, parse
from iavfio.virtchnl.journal_diff import steps
from tests.guest.journals import CARDS, DRIVERS, record
from tests.guest.places import REPO


def both(card: str, driver: str) -> tuple[list[Entry], list[Entry]]:
    """Requests of a new recording and of the saved one; polls and events left out."""
    saved = Journal.load(REPO / "docs/journals" / f"{card}-{driver}.jsonl")
    now = parse(record(card, DRIVERS[driver]).splitlines())
    return steps(now), steps(saved)


@pytest.mark.parametrize("card", CARDS)
def test_iavfio_negotiates_as_the_guide_shows(card: str) -> None:
    """When this fails on purpose: python3 -m tests.guest.journals, and mend the guide."""
    now, saved = both(card, "iavfio")
    assert [entry.text for entry in now] == [entry.text for entry in saved]


@pytest.mark.full
@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("driver", ["linux", "dpdk"])
def test_the_others_still_do(card: str, driver: str, lab: None) -> None:
    """By kind: Linux's multicast addresses come with its interfaces, a message sooner or later."""
    now, saved = both(card, driver)
    filters = (10, 11)  # ADD_ETH_ADDR, DEL_ETH_ADDR
    kinds = [[e.opcode for e in entries if e.opcode not in filters] for entries in (now, saved)]
    assert kinds[0] == kinds[1]
