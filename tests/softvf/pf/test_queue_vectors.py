# SPDX-License-Identifier: BSD-3-Clause
"""CONFIG_IRQ_MAP: which queues are on which vector, and what each PF checks."""

from __future__ import annotations

import pytest

from tests.softvf.pf.pf_rig import CARDS, PARAM, configure, enable, irq_map, rig, running


@pytest.mark.parametrize("card", CARDS)
def test_vectors_are_mapped(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        vsi = pf.vsi
        assert pf.status(7, irq_map((vsi, 1, 1, 2, 0, 1), (vsi, 4, 8, 8, 3, 3))) == 0
        assert pf.plane.calls[-2:] == [("map", 0, 1, 1, 2, 0, 1), ("map", 0, 4, 8, 8, 3, 3)]
        # The Linux driver ends its list with vector 0 and empty maps.
        assert pf.status(7, irq_map((vsi, 2, 1, 1, 0, 1), (vsi, 0, 0, 0, 0, 0))) == 0
        assert pf.violations == []


# docs/spec/reliability.md D8
@pytest.mark.parametrize("card", CARDS)
def test_vectors_that_cannot_be(card: str) -> None:
    with rig(card, vectors=5, num_queue_pairs=4) as pf:
        pf.negotiate()
        vsi = pf.vsi
        for message in (
            irq_map((vsi, 5, 1, 1, 0, 1)),
            irq_map((vsi, 1, 0x10, 0, 0, 1)),
            irq_map((vsi, 1, 0, 0x8000, 0, 1)),
            irq_map((vsi + 1, 1, 1, 1, 0, 1)),
            irq_map((vsi, 1, 1, 1, 0, 1), (vsi, 9, 1, 1, 0, 1)),
            irq_map(*[(vsi, 1, 1, 1, 0, 1)] * 6),
        ):
            assert pf.status(7, message) == PARAM[card]
        maps = [c for c in pf.plane.calls if c[0] == "map"]
        assert maps == [("map", 0, 1, 1, 1, 0, 1)], "what stands before the refused entry alone"


def test_queues_on_the_mailbox_vector() -> None:
    with rig("e810") as pf:
        pf.negotiate()
        assert pf.status(7, irq_map((1, 0, 1, 1, 0, 1))) == -5
    with rig("x710") as pf:
        pf.negotiate()
        assert pf.status(7, irq_map((10, 0, 1, 1, 0, 1))) == 0
        assert pf.plane.calls[-1] == ("map", 0, 0, 1, 1, 0, 1)


@pytest.mark.parametrize("card", CARDS)
def test_queues_on_no_vector_are_noted(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        configure(pf, 0)
        assert enable(pf, 1, 1)[0][1] == 0
        assert len(pf.notes) == 2 and pf.violations == []


def test_on_ice_a_queue_leaves_its_vector_for_another_one_only() -> None:
    """On i40e a vector's map is all that it serves."""
    for card, first in (("e810", (0b1101, 0b1111)), ("x710", (0b0001, 0b0000))):
        with rig(card) as pf:
            pf.negotiate()
            running(pf, 4)
            vsi = pf.vsi
            assert pf.status(7, irq_map((vsi, 1, 15, 15, 0, 0))) == 0
            pf.plane.calls.clear()
            assert pf.status(7, irq_map((vsi, 2, 2, 0, 1, 1), (vsi, 1, 1, 0, 0, 0))) == 0
            assert pf.plane.calls == [("map", 0, 2, 2, 0, 1, 1), ("map", 0, 1, *first, 0, 0)], card


def test_on_ice_queues_before_a_foreign_one_are_on_the_vector() -> None:
    with rig("e810", num_queue_pairs=4) as pf:
        pf.negotiate()
        assert pf.status(7, irq_map((1, 3, 0b10011, 15, 0, 0))) == -5
        assert pf.status(7, irq_map((1, 4, 0b00100, 0b10001, 0, 0))) == -5
        maps = [call for call in pf.plane.calls if call[0] == "map"]
        assert maps == [("map", 0, 3, 0b11, 0, 0, 0), ("map", 0, 4, 0b100, 0b1, 0, 0)]
