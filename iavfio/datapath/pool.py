# SPDX-License-Identifier: BSD-3-Clause
"""Packet buffers: one contiguous DMA region of equal buffers, addressed by arithmetic.

A packet is a 64-bit handle: buffer index (bits 31:0), offset of the data in the buffer (47:32) and
length (63:48). Address and IOVA follow from it by multiplication, so nothing is looked up per
packet (docs/design.md 4).
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iavfio._driver import ffi, lib
from iavfio.arguments import Choice, Flag, known_keywords, use
from iavfio.errors import ConfigError, VfioError
from iavfio.pyvfio import AddressSpace, DmaMemory, allocate_contiguous
from iavfio.pyvfio.memory import HugePages
from iavfio.ranges import BUFFERS, NODE
from iavfio.signatures import checked_call

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STRIDE: int = lib.POOL_STRIDE
HEADROOM: int = lib.POOL_HEADROOM
ROOM: int = lib.POOL_ROOM
DEFAULT_BUFFERS = 16384
NODES = Path("/sys/devices/system/node")


def buffers_for(descriptors: int) -> int:
    """How many buffers ports want whose receive rings have so many descriptors together."""
    return max(DEFAULT_BUFFERS, 2 * descriptors + 4096)


class Pool:
    """`buffers` packet buffers of 2048 bytes of data room and 128 of headroom each.

    A pool serves the whole process: ports that share one forward without copying. It maps itself
    into each address space that needs it, once. `memory` is what the device may touch; all
    bookkeeping lies elsewhere (docs/spec/reliability.md S3). `contiguous`: in one physical piece of
    huge pages, which a port without an IOMMU needs; a vfio-user port cannot use it. `numa_node`:
    the node that the memory is to lie on; None: where the kernel takes it. Raises ConfigError for a
    size that makes no sense, VfioError when memory is short.
    """

    @known_keywords
    def __init__(
        self,
        buffers: int = DEFAULT_BUFFERS,
        *,
        huge: HugePages = "auto",
        numa_node: int | None = None,
        contiguous: bool = False,
    ) -> None:
        buffers = BUFFERS("buffers", buffers)
        Choice("kind of pages", ("auto", "never", "require"))("huge", huge)
        if numa_node is not None:
            numa_node = _there(NODE("numa_node", numa_node))
        if Flag()("contiguous", contiguous):
            self.memory = allocate_contiguous(buffers * STRIDE, numa_node=numa_node)
        else:
            self.memory = DmaMemory.allocate(buffers * STRIDE, huge=huge, numa_node=numa_node)
        self.size = buffers
        self.numa_node = numa_node
        self._raw: Any = lib.pool_new(
            ffi.cast("void *", self.memory.address), buffers * STRIDE, STRIDE, HEADROOM
        )
        if self._raw == ffi.NULL:
            raise VfioError(
                f"no memory for the bookkeeping of a pool of {buffers} buffers",
                "",
                "make a smaller one",
            )
        self._hold = self.memory.buffer()
        self._mapped: weakref.WeakKeyDictionary[AddressSpace, int] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._view: NDArray[np.uint8] | None = None
        # With `_raw`, not with this object: Python's collector does not track `_raw`, which
        # dies after the __del__ of bursts and ports of the same garbage: they give buffers back.
        # The buffers are not freed at exit: ports and threads may still use them then.
        raw = ffi.cast("struct pool *", self._raw)
        weakref.finalize(self._raw, lib.pool_free, raw).atexit = False

    @property
    def raw(self) -> Any:
        """The C pool."""
        return self._raw

    @property
    def idle(self) -> int:
        """Buffers that nobody holds."""
        return int(lib.pool_idle(self._raw))

    @property
    def held(self) -> int:
        """Buffers in rings, bursts, or otherwise in use."""
        return self.size - self.idle

    @property
    def view(self) -> NDArray[np.uint8]:
        """All buffers as an array of shape (size, stride), no copy."""
        if self._view is None:
            import numpy as np

            flat = np.frombuffer(self._hold, dtype=np.uint8, count=self.size * STRIDE)
            self._view = flat.reshape(self.size, STRIDE)
        return self._view

    @checked_call
    def iova(self, space: AddressSpace) -> int:
        """Base of the pool in an address space; maps it there at the first call."""
        with self._lock:
            if space not in self._mapped:
                self._mapped[space] = space.map(self.memory)
            return self._mapped[space]

    @checked_call
    def mapped_in(self, space: AddressSpace) -> bool:
        """Whether devices of that space can reach this pool."""
        return space in self._mapped

    def forget(self, space: AddressSpace) -> None:
        """The space is about to close: the mapping goes with it."""
        with self._lock:
            self._mapped.pop(space, None)

    def __repr__(self) -> str:
        return f"<Pool of {self.size} buffers, {self.held} held>"


class _Default:
    """The pools that ports share when they are given none, by whether they are contiguous."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pools: dict[bool, Pool] = {}


_default = _Default()


def _there(node: int) -> int:
    """The number of a NUMA node that this host has, or -1. Raises ConfigError for another one."""
    nodes = sorted(int(path.name[4:]) for path in NODES.glob("node[0-9]*"))
    if node >= 0 and nodes and node not in nodes:
        raise ConfigError(
            f"there is no NUMA node {node}",
            f"this host has {', '.join(map(str, nodes))}",
            use("numa_node", nodes[0]),
        )
    return node


def default_pool(numa_node: int | None = None, contiguous: bool = False) -> Pool:
    """The process's own pool, made at the first call, on that NUMA node if one is given.

    Ports without an IOMMU share another, `contiguous` one.
    """
    with _default.lock:
        if contiguous not in _default.pools:
            _default.pools[contiguous] = Pool(numa_node=numa_node, contiguous=contiguous)
        return _default.pools[contiguous]


def _forget_in_child() -> None:
    """A forked child must not hand out its parent's buffers (docs/spec/reliability.md F64)."""
    _default.lock = threading.Lock()
    _default.pools = {}


os.register_at_fork(after_in_child=_forget_in_child)
