# SPDX-License-Identifier: BSD-3-Clause
"""A queue pair: its rings in DMA memory, the C object over them, and arrays for bursts."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass
from typing import Any

from iavfio._driver import ffi, lib
from iavfio.datapath.columns import MAX_CHAIN, Columns
from iavfio.datapath.isa import NUMBERS
from iavfio.datapath.pool import ROOM, Pool
from iavfio.datapath.readiness import Readiness
from iavfio.errors import DeviceLost, IavfioError, ResetUnderWay
from iavfio.exhaustion import exhaustion
from iavfio.pyvfio import AddressSpace, Bar

RX_DESCRIPTOR, TX_DESCRIPTOR = 32, 16  # bytes (docs/spec/descriptors.md 1)
BURST = 256
FCS: int = lib.ETHER_FCS  # bytes behind every frame: the device makes, checks and strips them
_release: Any = lib.pair_release


class Rings:
    """Descriptor memory of one queue pair: receive ring, then send ring, each page aligned."""

    def __init__(self, space: AddressSpace, rx_entries: int, tx_entries: int) -> None:
        self.rx_entries, self.tx_entries = rx_entries, tx_entries
        rx_bytes = -(-rx_entries * RX_DESCRIPTOR // 4096) * 4096
        self.memory = space.allocate(rx_bytes + tx_entries * TX_DESCRIPTOR)
        self._space = space
        try:
            self._iova = space.map(self.memory)
        except BaseException:
            self.memory.close()
            raise
        self._mapped = True
        self.rx_iova, self.tx_iova = self._iova, self._iova + rx_bytes
        self.rx_address = self.memory.address
        self.tx_address = self.memory.address + rx_bytes

    def close(self) -> None:
        """Unmaps and frees the rings, which the device must no longer reach. Raises VfioError.

        A call that a signal ended is made again for what it has left.
        """
        try:
            if self._mapped:
                self._space.unmap(self._iova, self.memory.size)
            self._mapped = False
        finally:
            self.memory.close()


@dataclass(frozen=True)
class PairSettings:
    """What the user decides about a pair: descriptors a ring, bytes a frame without FCS, ...

    `metadata` holds bits of `enum meta_bit`, `isa` is a word of `iavfio.ranges.ISA`. `pf_frame`:
    bytes without FCS that the PF lets through, whatever the MTU.
    """

    rx_entries: int
    tx_entries: int
    max_frame: int
    metadata: int = 0
    isa: str = "auto"
    pf_frame: int = lib.RX_MAX_FRAME - FCS

    @property
    def scattered(self) -> bool:
        """Whether a frame with its FCS may need more than one buffer."""
        return self.max_frame + FCS > ROOM


@dataclass(frozen=True)
class PairDevice:
    """Where a pair lies in its device, and what the PF granted; other values need a new C pair.

    `rxdid`: receive descriptor format, 0 is the legacy one. `vlan_in_l2tag2`: where a stripped tag
    stands. `dyn_ctl`: offset of the vector's VFINT_DYN_CTL register, `poll_ctl` and `sleep_ctl` its
    values. `rearm`: whether polling must arm the interrupt anew. `event_fd`: the vector's eventfd.
    `rq`, `sq`: addresses of the pair's counters.
    """

    space: AddressSpace
    bar: Bar
    rq: int
    sq: int
    rxdid: int
    vlan_in_l2tag2: int
    dyn_ctl: int
    poll_ctl: int
    sleep_ctl: int
    rearm: bool
    event_fd: int


class QueuePair:
    """One receive and one send queue with the same number. `raw` is the C pair, None at first.

    It holds the rings from the first `create` to `close`, also over stop and reset. `name` is the
    port's, for errors.
    """

    def __init__(self, name: str, index: int, pool: Pool, settings: PairSettings) -> None:
        self.name = name
        self.index = index
        self.pool = pool
        self.settings = settings
        self.rings: Rings | None = None
        self.raw: Any = None
        self.capacity = BURST
        self.spare: list[Columns] = []
        self._device: PairDevice | None = None
        self._readiness: Readiness | None = None
        self._mirrors: tuple[Any, Any] | None = None  # C mirrors of both sides
        self._sampled = False  # they are samples: whoever wants a mirror takes their place
        self._mirroring = threading.Lock()  # of them and of the C pair that has them
        self._closed: list[Any] = []  # freed with this object: other threads may be inside a call

    # ---- life

    def create(self, device: PairDevice, companion: QueuePair | None = None) -> Rings:
        """Makes rings and C pair, or keeps them when `device` says the same as before.

        `companion` is a pair that was created before this one and uses the same vector. Raises
        VfioError or IavfioError when memory is short.
        """
        if self.rings is None:
            self.rings = Rings(device.space, self.settings.rx_entries, self.settings.tx_entries)
        if self.raw is None or self._device != device:
            self._retire()
            raw = self._new(device, self.rings, companion)
            with self._mirroring:
                self.raw = raw
                if self._mirrors is not None:
                    lib.mirror_attach(raw, *self._mirrors)
            self._device = device
        return self.rings

    def _new(self, device: PairDevice, rings: Rings, companion: QueuePair | None) -> Any:
        settings, i = self.settings, self.index
        config: Any = ffi.new("struct pair_config *")
        config.pool, config.pool_iova = self.pool.raw, self.pool.iova(device.space)
        config.rx_ring = ffi.cast("void *", rings.rx_address)
        config.tx_ring = ffi.cast("void *", rings.tx_address)
        config.rx_tail = _doorbell(device.bar, lib.REG_QRX_TAIL1 + 4 * i)
        config.tx_tail = _doorbell(device.bar, lib.REG_QTX_TAIL1 + 4 * i)
        config.regio = ffi.cast("struct vfio_regio *", device.bar.regio)
        config.rq = ffi.cast("struct rq_counters *", device.rq)
        config.sq = ffi.cast("struct sq_counters *", device.sq)
        config.queue = i
        config.rx_entries, config.tx_entries = settings.rx_entries, settings.tx_entries
        config.buffer_size, config.max_frame = ROOM, settings.max_frame
        config.flex, config.vlan_in_l2tag2 = device.rxdid, device.vlan_in_l2tag2
        config.metadata, config.isa = settings.metadata, NUMBERS[settings.isa]
        config.scattered = settings.scattered
        config.dyn_ctl = device.dyn_ctl
        config.poll_ctl, config.sleep_ctl = device.poll_ctl, device.sleep_ctl
        config.rearm, config.event_fd = device.rearm, device.event_fd
        config.companion = ffi.NULL if companion is None else companion.raw
        error = ffi.new("int *")
        raw = lib.pair_new(config, error)
        if raw == ffi.NULL:
            raise self._failed(error[0])
        return ffi.gc(raw, lib.pair_free)

    @property
    def isa(self) -> str:
        """The code path that C chose; "" before the first start."""
        return "" if self.raw is None else ffi.string(lib.pair_isa_name(self.raw)).decode()

    @property
    def rxdid(self) -> int:
        """The receive descriptors' format that is in force; 0 is the legacy one."""
        return 0 if self._device is None else self._device.rxdid

    def stray_format(self) -> tuple[int | None, bool]:
        """The descriptor format (RXDID, 0 = legacy) that came instead of the one asked for.

        None when none came since `arm`. And whether packets are read in that format.
        """
        if self.raw is None:
            return None, False
        taken = ffi.new("int *")
        came = int(lib.pair_stray_rxdid(self.raw, taken))
        return (came - 1 if came else None), bool(taken[0])

    def arm(self, need: int) -> None:
        """Zeroes the rings and posts the receive ring.

        Raises IavfioError when the pool is short; `need`, the buffers that all rings of the port
        take, is told then.
        """
        result = lib.pair_arm(self.raw)
        if result in (-errno.ENOBUFS, -errno.ENOMEM):
            raise IavfioError(
                f"{self.name}: no buffers for the receive ring of queue {self.index}",
                f"the pool has {self.pool.idle} of {self.pool.size} idle, the rings need {need}",
                f"open the port with a larger pool: pool=iavfio.Pool(buffers={2 * need + 4096})",
            )
        self._check(result)

    def start(self) -> None:
        """Lets callers and workers in, once the PF has enabled the queues."""
        self._check(lib.pair_start(self.raw))
        if self._readiness is not None:
            self._readiness.renew(self.raw)

    def watch(self) -> int:
        """A descriptor for select that follows the receive side, until `unwatch`; see Readiness.

        The pair has to be running at the first call. Raises IavfioError.
        """
        if self._readiness is None:
            self._readiness = Readiness(f"receive queue {self.index} of {self.name}")
        self._readiness.watch(self.raw)
        return self._readiness.fileno()

    def unwatch(self) -> None:
        """Ends one `watch`: that caller waits by the descriptor no more."""
        if self._readiness is not None:
            self._readiness.unwatch()

    def halt(self, why: int = -errno.ESHUTDOWN) -> None:
        """Keeps callers and workers out; none is inside after the return.

        `why` is what they get: -ESHUTDOWN, or -ENODEV for a device that is gone.
        """
        if self.raw is not None:
            lib.pair_stop(self.raw, why)

    def drain(self) -> None:
        """Takes all buffers back; only when the device can no longer write."""
        if self.raw is not None:
            lib.pair_drain(self.raw)

    def settle(self) -> None:
        """Merges what other threads counted while the pair was idle."""
        if self.raw is not None:
            lib.pair_settle(self.raw)

    def mirror(self, rx: Any, tx: Any) -> None:
        """Copies what is received and sent to these C mirrors (NULL: none), until `unmirror`.

        Whoever is inside the pair goes on, and a C pair that takes the place of this one has them.
        """
        with self._mirroring:
            if self._sampled:
                self._detach()
            self._attach(rx, tx)

    def unmirror(self) -> None:
        """Nobody touches the mirrors any more after the return. Twice is harmless."""
        with self._mirroring:
            if not self._sampled:
                self._detach()

    def sample(self, rx: Any, tx: Any) -> bool:
        """Copies to these C mirrors (None: none) as `mirror` does, until `unsample` or until
        somebody else wants a mirror; False when somebody has one.
        """
        with self._mirroring:
            if self._mirrors is not None:
                return False
            self._attach(ffi.NULL if rx is None else rx, tx)
            self._sampled = True
            return True

    def unsample(self) -> None:
        """Nobody touches the samples any more after the return. Twice is harmless."""
        with self._mirroring:
            if self._sampled:
                self._detach()

    def _attach(self, rx: Any, tx: Any) -> None:
        self._mirrors = rx, tx
        if self.raw is not None:
            lib.mirror_attach(self.raw, rx, tx)

    def _detach(self) -> None:
        mirrors, self._mirrors, self._sampled = self._mirrors, None, False
        if mirrors is not None and self.raw is not None:
            lib.mirror_detach(self.raw)

    def close(self) -> None:
        """Gives buffers and rings back, after the device can no longer write. Raises VfioError."""
        self._retire()
        try:
            if self.rings is not None:
                self.rings.close()
        except IavfioError:
            self.rings = None
            raise
        self.rings = None

    def disown(self) -> None:
        """Leaves the pair to the parent, in a forked child (docs/spec/reliability.md F64)."""
        if self.raw is not None:
            ffi.gc(self.raw, None)
        self.raw = None
        self._mirrors, self._mirroring, self._sampled = None, threading.Lock(), False
        if self._readiness is not None:
            self._readiness.disown()

    def _retire(self) -> None:
        """The C pair gives back what it holds; later calls find it closed. Twice is harmless."""
        raw = self.raw
        if raw is None:
            return
        with self._mirroring:
            if self._mirrors is not None:
                lib.mirror_detach(raw)
            lib.pair_close(raw)
        self._closed.append(raw)
        self.raw = None

    def _check(self, result: int) -> None:
        if result == -errno.ENODEV:
            raise DeviceLost(f"{self.name} is gone", "", "close it and open it again")
        if result == -errno.ESHUTDOWN:
            raise ResetUnderWay(f"{self.name} was reset while its queues were started")
        if result < 0:
            raise self._failed(result)

    def _failed(self, code: int) -> IavfioError:
        what = f"{self.name}: queue pair {self.index} cannot be set up"
        if code == -errno.ENOMEM:
            return IavfioError(
                what, os.strerror(-code), "free memory, or use fewer or shorter rings"
            )
        failure = OSError(-code, os.strerror(-code))
        return exhaustion(failure, what) or IavfioError(what, os.strerror(-code))

    # ---- bursts

    def columns(self, capacity: int) -> Columns:
        """Arrays for a burst of up to `capacity` packets."""
        if capacity > self.capacity:
            self.capacity = capacity
            self.spare.clear()
        try:
            return self.spare.pop()
        except IndexError:
            settings = self.settings
            return Columns(self.capacity, settings.metadata, settings.scattered, self)

    def recycle(self, columns: Columns) -> None:
        """The arrays of a burst that was released may serve the next one."""
        if columns.owner is self and columns.capacity == self.capacity:
            self.spare.append(columns)

    def give_back(self, handles: Any, chain: Any, segments: Any, count: int) -> None:
        """Returns the buffers of `count` packets: to the pair's cache, or to the pool without it.

        The arguments are C pointers as `Columns.from_packet` gives them.
        """
        raw = self.raw
        if raw is None:
            lib.pool_give(self.pool.raw, handles, count, ffi.NULL)
            if segments != ffi.NULL:
                for i in range(count):
                    more = max(segments[i], 1) - 1
                    lib.pool_give(self.pool.raw, chain + MAX_CHAIN * i, more, ffi.NULL)
        elif segments == ffi.NULL:
            _release(raw, handles, count)
        else:
            lib.pair_release_chains(raw, handles, chain, segments, count)

    def take(self, handles: Any, count: int) -> bool:
        """Fills `handles`, a C pointer, with `count` buffers: all of them, or none at all."""
        raw = self.raw
        got = max(int(lib.pair_alloc(raw, handles, count)), 0) if raw is not None else 0
        if got < count:
            got += lib.pool_take(self.pool.raw, handles + got, count - got, ffi.NULL)
        if got < count:
            lib.pool_give(self.pool.raw, handles, got, ffi.NULL)
        return got >= count

    def refuse(self, count: int) -> None:
        """Counts packets that their owner gave up because the send ring was full."""
        if self.raw is not None:
            lib.pair_refuse(self.raw, count)


def _doorbell(bar: Bar, offset: int) -> Any:
    """The mapped tail register, or NULL: C then writes it through the transport."""
    if not bar.mapped(offset):
        return ffi.NULL
    return ffi.cast("volatile uint32_t *", bar.address(offset))
