# SPDX-License-Identifier: BSD-3-Clause
"""Where memory is mapped: edges of ranges and gaps, refusals, and what a second device changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iavfio import pyvfio
from iavfio.pyvfio import DmaMemory
from iavfio.pyvfio.errors import DmaError
from iavfio.pyvfio.space import AddressSpace, IovaRange
from tests.pyvfio.fake_iova import MSI, Iova
from tests.pyvfio.rigs import KernelRig

OTHER = "0000:3b:02.1"
PAGE = 4096
END = 1 << 64


class Space(AddressSpace):
    """An address space that holds what it is told; `refuses` makes it raise instead."""

    def __init__(self, *spans: tuple[int, int]) -> None:
        super().__init__()
        self.spans = tuple(IovaRange(*span) for span in spans)
        self.held: dict[int, int] = {}
        self.refuses = False

    @property
    def ranges(self) -> tuple[IovaRange, ...]:
        return self.spans

    def _map(self, memory: DmaMemory, iova: int, readable: bool, writable: bool) -> None:
        if self.refuses:
            raise DmaError("refused")
        self.held[iova] = memory.size

    def _unmap(self, iova: int, size: int) -> None:
        if self.refuses:
            raise DmaError("refused")
        assert self.held.pop(iova) == size


@pytest.fixture
def memory() -> Iterator[DmaMemory]:
    memory = DmaMemory.allocate(PAGE, huge="never")
    yield memory
    memory.close()


def of(memory: DmaMemory, pages: int) -> DmaMemory:
    """The memory as if it had so many pages: nothing here touches it."""
    memory.size = pages * PAGE
    return memory


def test_memory_that_fills_a_range_exactly_is_placed_there(memory: DmaMemory) -> None:
    space = Space((0x10000, 0x13FFF))
    assert space.map(of(memory, 4)) == 0x10000
    with pytest.raises(DmaError, match="no free IOVA range"):
        space.map(of(memory, 1))
    memory.size = PAGE


def test_the_last_page_of_64_bits_is_a_page(memory: DmaMemory) -> None:
    space = Space((END - 2 * PAGE, END - 1))
    assert space.map(of(memory, 2)) == END - 2 * PAGE
    space.unmap(END - 2 * PAGE, 2 * PAGE)
    assert space.map(memory, iova=END - 2 * PAGE) == END - 2 * PAGE
    space.unmap(END - 2 * PAGE, 2 * PAGE)
    with pytest.raises(DmaError, match="no 64-bit address"):
        space.map(of(memory, 2), iova=END - PAGE)
    assert space.held == {} and space.mappings == ()
    memory.size = PAGE


@pytest.mark.parametrize(("pages", "at"), [(1, 0x12000), (2, 0x12000), (3, 0x15000)])
def test_a_gap_is_used_when_it_is_long_enough(memory: DmaMemory, pages: int, at: int) -> None:
    space = Space((0x10000, 0x1FFFF))
    space.map(of(memory, 2), iova=0x10000)
    space.map(of(memory, 1), iova=0x14000)
    assert space.map(of(memory, pages)) == at
    memory.size = PAGE


def test_a_range_that_begins_at_0_gives_no_0(memory: DmaMemory) -> None:
    assert Space((0, 0xFFFF)).map(memory) == PAGE


@given(st.data())
def test_what_is_placed_lies_in_a_range_and_overlaps_nothing(data: st.DataObject) -> None:
    memory = DmaMemory.allocate(PAGE, huge="never")
    space = Space((0, 0x7FFF), (0xA000, 0xFFFF), (END - 0x4000, END - 1))
    free = {page * PAGE for first, last in ((1, 7), (10, 15)) for page in range(first, last + 1)}
    free |= {END - page * PAGE for page in range(1, 5)}
    for _ in range(data.draw(st.integers(1, 25))):
        if data.draw(st.booleans()) and space.mappings:
            held = space.mappings
            gone = held[data.draw(st.integers(0, len(held) - 1))]
            space.unmap(gone.iova, gone.size)
            free |= set(range(gone.iova, gone.iova + gone.size, PAGE))
            continue
        size = data.draw(st.integers(1, 5)) * PAGE
        memory.size = size
        fits = [at for at in free if all(at + n in free for n in range(0, size, PAGE))]
        try:
            at = space.map(memory)
        except DmaError:
            assert not fits
            continue
        assert at == min(fits)
        free -= set(range(at, at + size, PAGE))
    memory.size = PAGE
    memory.close()


def test_a_refused_unmap_leaves_the_mapping(memory: DmaMemory) -> None:
    """The device still reaches the memory, so its addresses are not free."""
    space = Space((0x10000, 0x1FFFF))
    iova = space.map(memory)
    space.refuses = True
    with pytest.raises(DmaError, match="refused"):
        space.unmap(iova, PAGE)
    space.refuses = False
    assert [mapping.iova for mapping in space.mappings] == [iova]
    assert space.map(memory) == iova + PAGE
    space.unmap(iova, PAGE)
    assert space.held == {iova + PAGE: PAGE}


def test_a_refused_map_leaves_nothing(memory: DmaMemory) -> None:
    space = Space((0x10000, 0x1FFFF))
    space.refuses = True
    with pytest.raises(DmaError, match="refused"):
        space.map(memory)
    assert space.mappings == ()


# ---- on the fake kernel


@pytest.mark.parametrize("mode", ["group", "cdev"])
def test_a_second_device_narrows_the_ranges(mode: Any, memory: DmaMemory, tmp_path: Path) -> None:
    """Reserved addresses of a device show once it has joined (docs/spec/vfio.md 4)."""
    rig = KernelRig(mode, tmp_path)
    rig.kernel.add(OTHER, group=18)
    with rig.open() as first:
        assert first.space.ranges[0] == IovaRange(0, MSI[0] - 1)
        rig.spaces()[0].holes = ((PAGE, 0xFFFFF), MSI)
        with pyvfio.open(OTHER, kernel=rig.kernel, mode=mode, space=first.space):
            assert first.space.ranges[:2] == (
                IovaRange(0, PAGE - 1),
                IovaRange(0x100000, MSI[0] - 1),
            )
            assert first.space.map(memory) == 0x100000
            first.space.unmap(0x100000, PAGE)
    assert rig.left_over() == []


def test_an_unmap_that_did_less_is_told(
    memory: DmaMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = KernelRig("group", tmp_path)
    with rig.open() as device:
        iova = device.space.map(memory)
        with monkeypatch.context() as patch:
            patch.setattr(Iova, "unmap", lambda *_: 0)
            with pytest.raises(pyvfio.DmaError, match="0x0 of 0x1000 bytes"):
                device.space.unmap(iova, memory.size)
        assert [mapping.iova for mapping in device.space.mappings] == [iova]
        device.space.unmap(iova, memory.size)
    assert rig.left_over() == []


@pytest.mark.parametrize("pages", [1, 3])
def test_huge_memory_lies_at_a_multiple_of_its_own_pages(
    memory: DmaMemory, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    """An IOMMU maps a huge page as one only where the IOVA is a multiple of it, too."""
    space = Space((0x10000, (1 << 32) - 1))
    assert space.map(of(memory, pages)) == 0x10000
    monkeypatch.setattr(memory, "page_size", 1 << 21)
    assert space.map(of(memory, 512)) == 1 << 21
    monkeypatch.setattr(memory, "page_size", PAGE)
    assert space.map(of(memory, 1)) == 0x10000 + pages * PAGE
    memory.size = PAGE
