# SPDX-License-Identifier: BSD-3-Clause
"""The same device behind each transport, so that one suite judges them all."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from iavfio import pyvfio
from tests.pyvfio.fake_device import REGION_SHIFT, FakeDevice
from tests.pyvfio.fake_group import Container
from tests.pyvfio.fake_iommufd import Iommufd
from tests.pyvfio.fake_iova import Iova
from tests.pyvfio.fake_kernel import FakeKernel
from tests.pyvfio.vfio_user_peer import AREAS, Peer

BDF = "0000:3b:02.0"


class Rig(ABC):
    """A host with one device and the device's own view of it."""

    transport: str

    @abstractmethod
    def open(self, **options: Any) -> pyvfio.Device: ...

    @abstractmethod
    def fire(self, index: int, vector: int) -> bool: ...

    @abstractmethod
    def windows(self) -> dict[int, int]:
        """What the device may reach: IOVA to size."""

    @abstractmethod
    def register(self, offset: int, *, mapped: bool) -> int:
        """A word of BAR0 as the device has it."""

    @abstractmethod
    def set_register(self, offset: int, value: int) -> None:
        """Changes a word of BAR0 that is not mapped."""

    @property
    @abstractmethod
    def config(self) -> bytearray: ...

    @property
    @abstractmethod
    def resets(self) -> int: ...

    @abstractmethod
    def settle(self) -> None:
        """Waits until the device's side has seen that the client is gone."""

    @abstractmethod
    def left_over(self) -> list[str]: ...

    @abstractmethod
    def end(self) -> None: ...


class KernelRig(Rig):
    """On the fake kernel."""

    def __init__(self, transport: str, root: Path) -> None:
        self.transport = transport
        self.kernel = FakeKernel(root)
        noiommu = transport == "noiommu"
        self.kernel.noiommu_allowed = noiommu
        self.device: FakeDevice = self.kernel.add(BDF, noiommu=noiommu)
        self.device.areas[0] = list(AREAS)

    def open(self, **options: Any) -> pyvfio.Device:
        if self.transport == "noiommu":
            options.setdefault("unsafe_noiommu", True)
        options.setdefault("mode", self.transport)
        return pyvfio.open(BDF, kernel=self.kernel, **options)

    def fire(self, index: int, vector: int) -> bool:
        return self.device.fire(index, vector)

    def spaces(self) -> list[Iova]:
        out = []
        for file in self.kernel.files.values():
            if isinstance(file, Container):
                out.append(file.iova)
            elif isinstance(file, Iommufd):
                out += [space for space in file.objects.values() if isinstance(space, Iova)]
        return out

    def windows(self) -> dict[int, int]:
        return {at: size for space in self.spaces() for at, (size, _, _) in space.maps.items()}

    def _fd(self) -> int:
        return next(fd for fd in self.kernel.files if os.fstat(fd).st_size == 9 << REGION_SHIFT)

    def register(self, offset: int, *, mapped: bool) -> int:
        return int.from_bytes(os.pread(self._fd(), 4, offset), "little")

    def set_register(self, offset: int, value: int) -> None:
        os.pwrite(self._fd(), value.to_bytes(4, "little"), offset)

    def settle(self) -> None:
        pass  # the kernel's close() is done when it returns

    @property
    def config(self) -> bytearray:
        return self.device.config

    @property
    def resets(self) -> int:
        return self.device.resets

    def left_over(self) -> list[str]:
        return self.kernel.left_over()

    def end(self) -> None:
        for fd in list(self.kernel.files):
            self.kernel.close(fd)


class UserRig(Rig):
    """On a vfio-user server."""

    transport = "vfio-user"

    def __init__(self, root: Path) -> None:
        self.peer = Peer(root / "d.sock")

    def open(self, **options: Any) -> pyvfio.Device:
        return pyvfio.open(f"vfio-user:{self.peer.path}", **options)

    def fire(self, index: int, vector: int) -> bool:
        return self.peer.fire(index, vector)

    def windows(self) -> dict[int, int]:
        return {at: window[0] for at, window in self.peer.windows.items()}

    def register(self, offset: int, *, mapped: bool) -> int:
        return self.peer.register(offset) if mapped else self.peer.trapped.get((0, offset), 0)

    def settle(self) -> None:
        assert self.peer.idle.wait(5)

    def set_register(self, offset: int, value: int) -> None:
        self.peer.trapped[0, offset] = value

    @property
    def config(self) -> bytearray:
        return self.peer.config

    @property
    def resets(self) -> int:
        return self.peer.resets

    def left_over(self) -> list[str]:
        return list(self.peer.violations)

    def end(self) -> None:
        self.peer.close()


def make_rig(transport: str, root: Path) -> Rig:
    return UserRig(root) if transport == "vfio-user" else KernelRig(transport, root)
