# SPDX-License-Identifier: BSD-3-Clause
"""One contract over every transport: regions, config, BARs, DMA, interrupts, reset, close."""

from __future__ import annotations

import gc
import os
import select
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iavfio import pyvfio
from iavfio.pyvfio import Area, DmaMemory
from tests.pyvfio.fake_kernel import open_fds
from tests.pyvfio.rigs import KernelRig, Rig, UserRig, make_rig

WITH_DMA = ("group", "cdev", "vfio-user")
ALL = (*WITH_DMA, "noiommu")


@pytest.fixture(params=ALL)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    rig = make_rig(request.param, tmp_path)
    yield rig
    left = rig.left_over()
    rig.end()
    assert left == []


with_dma = pytest.mark.parametrize("rig", WITH_DMA, indirect=True)


@pytest.fixture
def memory() -> Iterator[DmaMemory]:
    memory = DmaMemory.allocate(3 * 4096, huge="never")
    memory.buffer()[:5] = b"hello"
    yield memory
    memory.close()


def has_event(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_what_the_device_is(rig: Rig) -> None:
    with rig.open() as device:
        assert device.transport == rig.transport
        info = device.info()
        assert (info.resettable, info.num_regions, info.num_irqs) == (True, 9, 5)
        assert [device.irq(index).count for index in range(5)] == [0, 0, 5, 1, 1]
        assert device.irq(2).eventfd


def test_regions(rig: Rig) -> None:
    with rig.open() as device:
        bar0 = device.region(0)
        assert (bar0.size, bar0.readable, bar0.writable, bar0.mappable) == (
            0x20000,
            True,
            True,
            True,
        )
        assert bar0.areas == (Area(0, 0x1000), Area(0x2000, 0x1000))
        assert device.region(1).size == 0  # upper half of a 64-bit BAR
        assert device.region(3).size == 0x4000
        assert device.region(7).size == 256
        with pytest.raises(pyvfio.Unsupported, match="BAR1"):
            device.map_bar(1)


def test_config_space(rig: Rig) -> None:
    with rig.open() as device:
        config = device.config
        assert config.vendor == 0x8086
        assert config.device == struct.unpack_from("<H", rig.config, 2)[0]
        assert config.revision == 1
        assert config.class_code == 0x020000
        assert config.capability(0x10) == 0x70
        assert config.capability(0x11) == 0x40
        assert config.capability(0x05) is None
        assert config.msix_count == 5


def test_bus_master_is_off_until_asked_for(rig: Rig) -> None:
    with rig.open() as device:
        if isinstance(rig, KernelRig):
            assert not device.config.bus_master
        device.config.bus_master = True
        assert rig.config[4] == 6  # memory decode is kept
        assert device.config.bus_master
        device.config.bus_master = False
        assert rig.config[4] == 2


def test_capability_list_that_loops_ends(rig: Rig) -> None:
    rig.config[0x71] = 0x70
    with rig.open() as device:
        assert device.config.capability(0x11) is None


def test_bar_mapped_and_not(rig: Rig) -> None:
    with rig.open() as device:
        bar = device.map_bar(0)
        assert device.map_bar(0) is bar
        assert bar.size == 0x20000
        bar.write32(0x2010, 0x12345678)
        assert rig.register(0x2010, mapped=True) == 0x12345678
        assert bar.read32(0x2010) == 0x12345678
        bar.write32(0x8008, 0xCAFE0001)
        assert bar.read32(0x8008) == 0xCAFE0001
        assert rig.register(0x8008, mapped=False) == 0xCAFE0001
        rig.set_register(0x8800, 0xBEEF)
        assert bar.read32(0x8800) == 0xBEEF
        assert bar.mapped(0x2FFC) and bar.mapped(0) and not bar.mapped(0x2FFD)
        assert not bar.mapped(0x1000) and not bar.mapped(0x8008)
        assert bar.address(0x2010) - bar.address(0x2000) == 0x10
        with pytest.raises(pyvfio.Unsupported, match="0x8008"):
            bar.address(0x8008)
        assert not bar.lost and not device.lost


def test_edges_of_mapped_areas_and_of_the_bar(rig: Rig) -> None:
    """The last register of an area is memory, the next one a message; the last of all is there."""
    with rig.open() as device:
        bar = device.map_bar(0)
        if isinstance(rig, UserRig):
            rig.peer.log.clear()
        for offset, mapped in ((0xFFC, True), (0x1000, False), (0x1FFC, False), (0x2000, True)):
            bar.write32(offset, 0x1000_0000 | offset)
            # Writes by message are posted: the read comes behind them.
            assert bar.read32(offset) == 0x1000_0000 | offset
            assert rig.register(offset, mapped=mapped) == 0x1000_0000 | offset
        for offset, mapped in ((0x2FFC, True), (0x3000, False), (0x1FFFC, False)):
            bar.write32(offset, offset)
            assert bar.read32(offset) == offset
            assert rig.register(offset, mapped=mapped) == offset
            assert bar.mapped(offset) is mapped
        if isinstance(rig, UserRig):  # four of the seven are not mapped: a write and a read each
            assert len(rig.peer.log) == 8
            assert sorted(at for _, at in rig.peer.trapped) == [0x1000, 0x1FFC, 0x3000, 0x1FFFC]


@pytest.mark.parametrize("offset", [0x2010, 0x8800])
def test_all_ones_in_a_register_are_a_value(rig: Rig, offset: int) -> None:
    """docs/spec/reliability.md F31: it takes more than one read to tell that a device is gone."""
    with rig.open() as device:
        bar = device.map_bar(0)
        bar.write32(offset, 0xFFFFFFFF)
        for _ in range(3):
            assert bar.read32(offset) == 0xFFFFFFFF
        assert not bar.lost and not device.lost
        bar.write32(offset, 5)
        assert bar.read32(offset) == 5


@pytest.mark.parametrize("offset", [0x20000, 0x1FFFE, 0x2001, 2**64 - 4, 0x1FFFFFFFFF])
def test_bar_access_outside_or_misaligned(rig: Rig, offset: int) -> None:
    with rig.open() as device:
        bar = device.map_bar(0)
        assert bar.read32(offset) == 0xFFFFFFFF
        with pytest.raises(pyvfio.VfioError, match="refused"):
            bar.write32(offset, 1)
        assert not bar.lost


def test_region_read_and_write(rig: Rig) -> None:
    with rig.open() as device:
        device.write(0, 0x9000, struct.pack("<II", 1, 2))
        assert device.read(0, 0x9000, 8) == struct.pack("<II", 1, 2)
        whole = device.read(7, 0, 256)
        assert whole == bytes(rig.config)
        with pytest.raises(pyvfio.VfioError):
            device.read(0, 0x20000, 4)
        with pytest.raises(pyvfio.VfioError):
            device.read(1, 0, 4)


def test_bar_accesses_are_words(rig: Rig) -> None:
    """One naturally aligned word is one access of the device."""
    with rig.open() as device:
        device.read(0, 0x9000, 16)
        device.write(0, 0x9000, bytes(16))
    if isinstance(rig, KernelRig):
        wide = [a for a in rig.device.accesses if a[0] == 0]
        assert [(at, count) for _, at, count, _ in wide] == 2 * [
            (0x9000 + n, 4) for n in range(0, 16, 4)
        ]


@with_dma
def test_dma_map_and_unmap(rig: Rig, memory: DmaMemory) -> None:
    with rig.open() as device:
        space = device.space
        iova = space.map(memory)
        assert iova and iova % 4096 == 0
        assert rig.windows() == {iova: memory.size}
        if isinstance(rig, UserRig):
            assert rig.peer.windows[iova][3][:5] == b"hello"
        if isinstance(rig, KernelRig):
            assert rig.spaces()[0].maps[iova][1] == memory.address
        assert [m.iova for m in space.mappings] == [iova]
        other = DmaMemory.allocate(4096, huge="never")
        second = space.map(other, iova=0x10000000)
        assert second == 0x10000000
        assert set(rig.windows()) == {iova, second}
        space.unmap(iova, memory.size)
        assert rig.windows() == {second: 4096}
        with pytest.raises(pyvfio.DmaError, match="nothing is mapped"):
            space.unmap(iova, memory.size)
        with pytest.raises(pyvfio.DmaError, match="nothing is mapped"):
            space.unmap(second, 8192)
        space.unmap(second, 4096)
        assert rig.windows() == {}
        other.close()


@with_dma
def test_dma_rights(rig: Rig, memory: DmaMemory) -> None:
    with rig.open() as device:
        iova = device.space.map(memory, writable=False)
        if isinstance(rig, UserRig):
            assert rig.peer.windows[iova][1] == 1
        if isinstance(rig, KernelRig):
            assert rig.spaces()[0].maps[iova][2] is False
        device.space.unmap(iova, memory.size)
        iova = device.space.map(memory, readable=False)
        if isinstance(rig, UserRig):
            assert rig.peer.windows[iova][1] == 2
        device.space.unmap(iova, memory.size)


@with_dma
def test_dma_refusals(rig: Rig, memory: DmaMemory) -> None:
    with rig.open() as device:
        space = device.space
        space.map(memory, iova=0x100000)
        for iova in (0x100000, 0x101000, 0x100000 - 0x1000):
            with pytest.raises(pyvfio.DmaError, match="overlap"):
                space.map(memory, iova=iova)
        with pytest.raises(pyvfio.DmaError, match="align"):
            space.map(memory, iova=0x200800)
        assert rig.windows() == {0x100000: memory.size}
        assert len(space.mappings) == 1
        space.unmap(0x100000, memory.size)


@with_dma
def test_close_with_mappings_gives_them_back(rig: Rig, memory: DmaMemory) -> None:
    device = rig.open()
    space = device.space
    space.map(memory)
    device.close()
    assert space.mappings == ()
    rig.settle()
    assert rig.windows() == {}


def test_no_iommu_means_no_mapping(tmp_path: Path, memory: DmaMemory) -> None:
    rig = KernelRig("noiommu", tmp_path)
    with rig.open() as device:
        before = [call for call in rig.kernel.calls if call[-1] == "0x3b71"]
        try:
            device.space.map(memory)
        except pyvfio.VfioError as error:
            assert error.remedy or error.cause
        assert [call for call in rig.kernel.calls if call[-1] == "0x3b71"] == before
    assert rig.left_over() == []


def test_interrupts(rig: Rig) -> None:
    with rig.open() as device:
        fds = device.enable_msix(3)
        assert len(set(fds)) == 3
        assert rig.fire(2, 1)
        assert [has_event(fd) for fd in fds] == [False, True, False]
        assert os.eventfd_read(fds[1]) == 1
        assert not rig.fire(2, 3)
        more = device.enable_msix(5)
        assert rig.fire(2, 4) and has_event(more[4])
        device.disable_msix()
        assert not rig.fire(2, 0)
        device.disable_msix()
        for fd in more:
            with pytest.raises(OSError):
                os.fstat(fd)


@pytest.mark.parametrize("count", [0, -1, 6, 4097])
def test_vectors_that_the_device_has_not(rig: Rig, count: int) -> None:
    with rig.open() as device:
        before = open_fds()
        with pytest.raises(pyvfio.Unsupported, match="5"):
            device.enable_msix(count)
        assert open_fds() == before


def test_single_vectors_and_holes(rig: Rig) -> None:
    with rig.open() as device:
        fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(3)]
        device.set_irqs(2, 0, [fds[0], None, fds[1]])
        assert [rig.fire(2, vector) for vector in range(3)] == [True, False, True]
        assert [has_event(fd) for fd in fds] == [True, True, False]
        device.set_irqs(2, 1, [fds[2]])
        assert rig.fire(2, 1) and has_event(fds[2])
        device.set_irqs(2, 0, [None])
        assert not rig.fire(2, 0)
        with pytest.raises(pyvfio.VfioError):
            device.set_irqs(2, 4, [fds[0], fds[1]])
        if isinstance(rig, UserRig):
            rig.peer.violations.clear()  # it was asked for vectors beyond the table on purpose
        device.disable_irqs(2)
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_vectors_beyond_what_a_message_carries(tmp_path: Path, limit: int) -> None:
    """docs/spec/vfio-user.md 1: no message has more descriptors than the server allows."""
    rig = UserRig(tmp_path)
    rig.peer.capabilities = b'{"capabilities":{"max_msg_fds":%d}}\0' % limit
    with rig.open() as device:
        fds = device.enable_msix(5)
        assert max(count for _, _, count in rig.peer.log) == limit
        for vector, fd in enumerate(fds):
            assert rig.fire(2, vector) and has_event(fd)
    assert rig.left_over() == []
    rig.end()


def test_request_and_error_events(rig: Rig) -> None:
    with rig.open() as device:
        wanted, broken = device.request_event(), device.error_event()
        assert wanted is not None and broken is not None
        assert device.request_event() == wanted
        assert rig.fire(4, 0)
        assert has_event(wanted) and not has_event(broken)
        assert rig.fire(3, 0) and has_event(broken)


def test_reset(rig: Rig, memory: DmaMemory) -> None:
    with rig.open() as device:
        fds = device.enable_msix(1)
        iova = None if rig.transport == "noiommu" else device.space.map(memory)
        before = rig.resets
        device.reset()
        assert rig.resets == before + 1
        assert rig.fire(2, 0) and has_event(fds[0])
        if iova is not None:
            assert rig.windows() == {iova: memory.size}
            device.space.unmap(iova, memory.size)


def test_close_twice_and_use_after(rig: Rig, memory: DmaMemory) -> None:
    device = rig.open()
    bar = device.map_bar(0)
    space, config = device.space, device.config
    device.request_event()
    device.enable_msix(2)
    device.close()
    device.close()
    for use in (
        device.info,
        lambda: device.region(0),
        lambda: device.irq(2),
        lambda: device.read(7, 0, 4),
        lambda: device.write(7, 4, b"\0\0"),
        lambda: device.map_bar(0),
        lambda: device.enable_msix(1),
        lambda: device.set_irqs(2, 0, [None]),
        lambda: device.disable_irqs(2),
        device.request_event,
        device.reset,
        lambda: config.vendor,
        lambda: bar.read32(0),
        lambda: bar.write32(0, 1),
        lambda: space.map(memory),
    ):
        with pytest.raises(pyvfio.Closed):
            use()


def test_nothing_stays_open(rig: Rig, memory: DmaMemory) -> None:
    gc.collect()
    before = open_fds()
    for _ in range(3):
        device = rig.open()
        device.map_bar(0)
        device.map_bar(3)
        device.enable_msix(2)
        device.request_event()
        device.close()
    del device
    gc.collect()
    after = open_fds()
    if isinstance(rig, UserRig):  # the server notices the end of a connection a little later
        extra = [name for fd, name in after.items() if fd not in before]
        assert all("socket" in name or "eventfd" in name for name in extra) and len(extra) <= 8
    else:
        assert after == before


def test_child_may_not_use_the_parents_device(rig: Rig, memory: DmaMemory) -> None:
    with rig.open() as device:
        bar = device.map_bar(0)
        bar.write32(0x2000, 7)
        view = memory.buffer()
        pid = os.fork()
        if not pid:  # the exit status says what went wrong
            status = 1
            try:
                device.info()
            except pyvfio.Closed as closed:
                status = 0 if "forked" in str(closed) else 2
            except BaseException:
                status = 3
            try:
                status = status or 4 * (bytes(view[:5]) != bytes(5))
                view[:3] = b"bad"
                if bar.read32(0x2000) != 0xFFFFFFFF:
                    status = status or 5
                device.close()
            except BaseException:
                status = status or 6
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert bytes(view[:5]) == b"hello"
        assert rig.register(0x2000, mapped=True) == 7
        assert device.info().num_regions == 9
        assert bar.read32(0x2000) == 7


@with_dma
def test_the_example_of_the_docs(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "guides" / "pyvfio.md").read_text(encoding="utf-8")
    example = text.split("```python\n")[1].split("```")[0]
    device = rig.open()
    monkeypatch.setattr(pyvfio, "open", lambda target: device)
    exec(compile(example, "docs/guides/pyvfio.md", "exec"), {})
    assert "8086:" in capsys.readouterr().out
    assert rig.resets >= 1
    with pytest.raises(pyvfio.Closed):
        device.info()


WRONG: list[tuple[str, tuple[Any, ...], str]] = [
    ("region", ("0",), "index is a whole number, not a str"),
    ("region", (None,), "index is a whole number, not a NoneType"),
    ("region", (-1,), "it can be 0 to"),
    ("region", (1 << 40,), "it can be 0 to"),
    ("irq", (2.0,), "index is a whole number, not a float"),
    ("irq", (True,), "index is a whole number, not a bool"),
    ("read", ("bar0", 0, 4), "region is a whole number, not a str"),
    ("read", (0, None, 4), "offset is a whole number, not a NoneType"),
    ("read", (0, 0, "4"), "count is a whole number, not a str"),
    ("read", (0, 1 << 70, 4), "it can be"),
    ("write", (0, 0, 5), "data is bytes, not a int"),
    ("write", (0, 0, "abcd"), "data is bytes, not a str"),
    ("write", ([], 0, b"abcd"), "region is a whole number, not a list"),
    ("set_irqs", ("2", 0, [1]), "index is a whole number, not a str"),
    ("set_irqs", (2, None, [1]), "start is a whole number, not a NoneType"),
    ("set_irqs", (2, -1, [1]), "it can be 0 to"),
    ("set_irqs", (2, 0, 5), "fds is a list of file descriptors, not a int"),
    ("set_irqs", (2, 0, ["1"]), "fds is a whole number, not a str"),
    ("set_irqs", (2, 0, [-1]), "it can be 0 to"),
    ("disable_irqs", (None,), "index is a whole number, not a NoneType"),
    ("map_bar", (0.0,), "index is a whole number, not a float"),
    ("map_bar", (6,), "it can be 0 to 5"),
    ("enable_msix", ("1",), "count is a whole number, not a str"),
]


@pytest.mark.parametrize(("call", "arguments", "reason"), WRONG)
def test_wrong_arguments_are_told(
    rig: Rig, call: str, arguments: tuple[Any, ...], reason: str
) -> None:
    with rig.open() as device:
        before = device.region(0)
        with pytest.raises(pyvfio.BadArgument) as refused:
            getattr(device, call)(*arguments)
        assert reason in str(refused.value)
        assert device.region(0) == before
