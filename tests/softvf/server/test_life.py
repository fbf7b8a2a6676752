# SPDX-License-Identifier: BSD-3-Clause
"""What ends with a reset, with a client and with a VF that is gone (docs/spec/vfio-user.md 5)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.function.msix import Msix
from iavfio.softvf.function.regions import DmaFault
from tests.softvf.server.raw_client import RawClient
from tests.softvf.server.served_vf import ServedVf, serving
from tests.softvf.server.test_dma import dma_map
from tests.softvf.server.test_irqs import BOOL, EVENTFD, MASK, NONE, SWINT, TRIGGER, fired, set_irqs

AT = 0x100000


def memory() -> int:
    fd = os.memfd_create("life")
    os.ftruncate(fd, 0x1000)
    return fd


@pytest.mark.parametrize("how", ["DEVICE_RESET", "FLR"])
def test_after_a_reset_the_device_reaches_no_memory(tmp_path: Path, how: str) -> None:
    """Bus Master is off in the device as well, not only where it is read."""
    with serving(tmp_path / "v.sock") as served:
        client, fd = RawClient(served.path), memory()
        assert dma_map(client, fd, AT, 0x1000) == 0
        client.write(7, 4, b"\6\0")
        assert served.vf.dma_read(AT, 4) == bytes(4)
        if how == "FLR":
            client.write(7, 0xA8, b"\x00\x80")
        else:
            assert client.ask(13)[0] == 0
        assert not served.vf.bus_master
        for call in (lambda: served.vf.dma_read(AT, 4), lambda: served.vf.dma_write(AT, b"x")):
            with pytest.raises(DmaFault):
                call()
        client.write(7, 4, b"\6\0")
        assert served.vf.dma_read(AT, 4) == bytes(4), "the windows are the client's, and stay"
        client.close()
        os.close(fd)


# docs/spec/reliability.md F63
def test_the_end_of_a_connection_ends_dma_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of what is to be done may take its time: nothing is written meanwhile, nor later."""
    steps: list[tuple[str, bool]] = []
    with serving(tmp_path / "v.sock") as served:
        client, fd = RawClient(served.path), memory()
        assert dma_map(client, fd, AT, 0x1000) == 0
        client.write(7, 4, b"\6\0")
        served.vf.dma_write(AT, b"before")

        def watched(owner: type, name: str) -> None:
            done = getattr(owner, name)

            def step(*arguments: object) -> object:
                out = done(*arguments)
                try:
                    served.vf.dma_write(AT, b"behind")
                except DmaFault:
                    steps.append((name, False))
                else:
                    steps.append((name, True))
                return out

            monkeypatch.setattr(owner, name, step)

        for name in ("set_bus_master", "reset_vf", "dma_clear", "forgive"):
            watched(DataPlane, name)
        watched(Msix, "drop_all")
        again = _again(served, client)  # one at a time: the first one's end has been dealt with
        assert [name for name, _ in steps[:3]] == ["set_bus_master", "reset_vf", "dma_clear"]
        assert "drop_all" in dict(steps) and not any(written for _, written in steps)
        again.write(7, 4, b"\6\0")
        with pytest.raises(DmaFault):
            served.vf.dma_write(AT, b"behind")
        again.close()
    assert os.pread(fd, 6, 0) == b"before"
    os.close(fd)


def test_the_queues_of_a_vf_that_is_gone_have_stopped(tmp_path: Path) -> None:
    with serving(tmp_path / "v.sock") as served:
        plane = served.plane
        plane.configure_tx(0, 0, AT, 64)
        plane.enable_queue(0, 0, False)
        with pytest.raises(OSError, match="busy"):
            plane.configure_tx(0, 0, AT, 64)
        plane.bar_write32(0, 0x2000, 5)
        served.vf.set_gone(True)
        plane.configure_tx(0, 0, AT, 64)  # nothing runs there any more
        assert plane.bar_read32(0, 0x2000) == 0
        served.vf.set_gone(True)
        plane.enable_queue(0, 0, False)
        served.vf.set_gone(False)
        with pytest.raises(OSError, match="busy"):
            plane.configure_tx(0, 0, AT, 64)


@pytest.mark.parametrize("by", ["disable", "hang up"])
def test_mask_bits_go_with_the_wiring(tmp_path: Path, by: str) -> None:
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    with serving(tmp_path / "v.sock") as served:
        client = RawClient(served.path)
        assert set_irqs(client, BOOL | MASK, 0, 2, b"\0\1") == 0
        if by == "disable":
            assert set_irqs(client, NONE | TRIGGER, 0, 0) == 0
        else:
            client = _again(served, client)
        assert set_irqs(client, EVENTFD | TRIGGER, 1, 1, fds=(fd,)) == 0
        client.write32(0x3800, SWINT)
        assert fired(fd)
        client.close()
    os.close(fd)


def _again(served: ServedVf, client: RawClient) -> RawClient:
    client.close()
    return RawClient(served.path)
