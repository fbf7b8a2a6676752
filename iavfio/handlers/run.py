# SPDX-License-Identifier: BSD-3-Clause
"""Handlers: functions that judge every packet inside a C worker, without Python's lock.

A handler is written in Python and compiled by Numba, or any C function with the signature of
`handler_fn` (csrc/driver/cdef.h). `run` gives receive queues to a worker that asks it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from iavfio._driver import ffi, lib
from iavfio.datapath.burst import Burst
from iavfio.datapath.queues import BURST, QueuePair, RxQueue, TxQueue
from iavfio.errors import ConfigError, IavfioError, StateError
from iavfio.handlers.fields import (
    Meta,
    set_u8,
    set_u16be,
    set_u32be,
    set_u48be,
    set_u64be,
    u8,
    u16be,
    u32be,
    u48be,
    u64be,
)

if TYPE_CHECKING:
    from iavfio.port.port import Port

__all__ = [
    "BACK",
    "DROP",
    "KEEP",
    "ROUTE",
    "Counters",
    "Handler",
    "Meta",
    "Run",
    "builtin",
    "from_address",
    "handler",
    "run",
    "set_u8",
    "set_u16be",
    "set_u32be",
    "set_u48be",
    "set_u64be",
    "u8",
    "u16be",
    "u32be",
    "u48be",
    "u64be",
]

DROP: int = lib.VERDICT_DROP
BACK: int = lib.VERDICT_BACK
"""Send on the pair that the packet came from."""
KEEP: int = lib.VERDICT_KEEP
"""Deliver to Python: `run.kept.recv()`."""
ROUTE: int = lib.VERDICT_ROUTE
"""Plus k: send on `routes[k]`."""

MOST_QUEUES: int = lib.WORKER_MAX_PAIRS
MOST_KEPT = 1 << 20
_BUILT_IN = ("swap_macs", "drop_udp")


class Handler(Protocol):
    """What `run` accepts: something that gives the address of a C function for a state."""

    def function(self, state: np.ndarray[Any, Any] | None) -> tuple[int, object]:
        """Address of the function, and what must live as long as it may be called."""


class _Compiled:
    """A Python function that Numba compiles at its first run with a state of some type and shape.

    Called from Python it runs as plain Python, which is how a handler is tested.
    """

    def __init__(self, judge: Callable[..., int]) -> None:
        self.__wrapped__ = judge
        self.__name__ = getattr(judge, "__name__", "handler")
        self.__doc__ = judge.__doc__
        self._done: dict[tuple[str, tuple[int, ...]], Any] = {}

    def __call__(self, data: Any, length: int, meta: Any, state: Any) -> int:
        return self.__wrapped__(data, length, meta, state)

    def function(self, state: np.ndarray[Any, Any] | None = None) -> tuple[int, object]:
        """Compiles now, if it is not compiled yet; takes a second or more. Raises ConfigError."""
        known = np.zeros(1, dtype=np.uint8) if state is None else state
        key = (repr(known.dtype.descr), known.shape)
        if key not in self._done:
            try:
                from iavfio.handlers.compile import compile_handler
            except ImportError as missing:
                raise ConfigError(
                    f"the handler {self.__name__!r} cannot be compiled",
                    f"Numba cannot be imported ({missing})",
                    "pip install numba, or use a C function: iavfio.handlers.run.from_address(...)",
                ) from missing
            self._done[key] = compile_handler(self.__wrapped__, known)
        compiled = self._done[key]
        return int(compiled.address), compiled

    def __repr__(self) -> str:
        return f"<handler {self.__name__}>"


class _Native:
    def __init__(self, address: int, keep: object, name: str) -> None:
        self._address, self._keep, self._name = address, keep, name

    def function(self, state: np.ndarray[Any, Any] | None) -> tuple[int, object]:
        """The address as it was given."""
        return self._address, self._keep

    def __repr__(self) -> str:
        return f"<handler {self._name}>"


def handler(judge: Callable[..., int]) -> _Compiled:
    """Makes a handler of `judge(data, length, meta, state) -> verdict`, called for every packet.

    `data`: the packet's bytes, a writable uint8 array over the buffer itself (of a chained packet
    the first segment); `length`: how many; `meta`: a Meta; `state`: the array given to `run`, or
    one byte. Needs Numba (`pip install numba`), not before it is run.
    """
    return _Compiled(judge)


def from_address(function: Any, *, keep: object = None) -> Handler:
    """A C function of type `handler_fn` as a handler: an address, or a ctypes or cffi pointer.

    It runs without Python's lock and without any check of what it touches. `keep`: what must live
    as long, e.g. the library. Raises ConfigError for NULL and for what is no function.
    """
    address = 0
    if isinstance(function, int):
        address = function
    elif isinstance(function, ffi.CData):
        address = int(ffi.cast("uintptr_t", function))
    elif hasattr(function, "argtypes") or isinstance(function, ctypes.c_void_p):  # ctypes
        address = ctypes.cast(function, ctypes.c_void_p).value or 0
    if not 0 < address < 1 << 64:
        raise ConfigError(
            f"{function!r} is no C function", "an address or a pointer of ctypes or cffi is", ""
        )
    return _Native(address, (function, keep), f"at {address:#x}")


def builtin(name: str) -> Handler:
    """A handler of the driver's own: `swap_macs`, or `drop_udp` (state: uint64[2], port and hits).

    Raises ConfigError for another name.
    """
    if name not in _BUILT_IN:
        raise ConfigError(f"no handler {name!r}", "", f"choose of: {', '.join(_BUILT_IN)}")
    pointer = ffi.addressof(lib, f"handler_{name}")
    return _Native(int(ffi.cast("uintptr_t", pointer)), None, name)


@dataclass(frozen=True)
class Counters:
    """What a run counted. Once it has ended every packet is in exactly one place:

    received = dropped + kept + kept_full + invalid + failed + sent + refused.
    """

    received: int = 0
    received_bytes: int = 0
    dropped: int = 0
    kept: int = 0
    kept_full: int = 0
    """Dropped, because Python did not take the kept ones in time."""
    invalid: int = 0
    """Dropped, because the handler gave no verdict or one that does not exist."""
    failed: int = 0
    """Dropped, because the handler raised an error."""
    sent: int = 0
    sent_bytes: int = 0
    refused: int = 0
    """Not sent: too short or long, or for a queue that was stopped, or no room at the end."""
    loops: int = 0
    empty_loops: int = 0
    tsc_busy: int = 0
    tsc_total: int = 0
    state: int = 0
    error: int = 0


class Kept:
    """Packets with the verdict KEEP, for Python. One caller at a time."""

    def __init__(self, pairs: Sequence[QueuePair], capacity: int) -> None:
        if not 0 <= capacity <= MOST_KEPT:
            raise ConfigError(f"a ring of {capacity} packets", f"0 to {MOST_KEPT} are possible", "")
        self._pairs = tuple(pairs)
        # A closed C pair lives as long as its QueuePair, and takes buffers back all the same.
        self._raws = [_running(pair) for pair in pairs]
        self._rings: list[Any] = []
        self._array: Any = ffi.NULL
        self._next = 0
        self._lock = threading.Lock()
        self._run: Callable[[], Run | None] = lambda: None
        self.capacity = 1 << (capacity - 1).bit_length() if capacity else 0
        if capacity:
            self._make()

    def _make(self) -> None:
        error = ffi.new("int *")
        for pair in self._pairs:
            ring = lib.kept_new(pair.pool.raw, self.capacity, error)
            if ring == ffi.NULL:
                for made in self._rings:
                    lib.kept_free(made)
                raise IavfioError("no ring for kept packets", os.strerror(-error[0]), "")
            self._rings.append(ring)
        self._array = ffi.new("struct kept *[]", self._rings)

    @property
    def waiting(self) -> int:
        """Packets that wait for Python."""
        return sum(lib.kept_count(ring) for ring in self._rings)

    def recv(self, max: int = BURST, timeout: float | None = None) -> Burst:
        """Up to `max` kept packets of one queue as a Burst, possibly none.

        timeout None: looks once. Else waits up to `timeout` seconds, negative: without a limit; it
        returns early, and empty, when the worker has ended. Raises StateError when the run keeps
        nothing, is closed, or another thread is in here.
        """
        if max < 1:
            raise ConfigError(f"recv of {max} packets", "at least 1 is needed", "recv(max=256)")
        run = self._run()  # must not be collected, and the rings with it, before the return
        if not self._lock.acquire(blocking=False):
            raise StateError("kept packets are taken by another thread", "", "one may do that")
        try:
            if run is None or not self._rings:
                raise StateError(
                    "this run keeps no packets", "keep=0, or it is closed", "run(..., keep=1024)"
                )
            burst = self._take(max)
            if len(burst) or timeout is None:
                return burst
            burst.release()
            self._wait(timeout)
            return self._take(max)
        finally:
            self._lock.release()

    def _take(self, most: int) -> Burst:
        count = len(self._rings)
        for i in range(count):
            at = (self._next + i) % count
            if i + 1 == count or lib.kept_count(self._rings[at]):
                break
        self._next = (at + 1) % count
        pair = self._pairs[at]
        slab = pair.slab(most)
        return Burst(pair, slab, int(lib.kept_recv(self._rings[at], slab.columns, most)))

    def _wait(self, timeout: float) -> None:
        end = None if timeout < 0 else time.monotonic() + timeout
        while True:
            left = -1 if end is None else max(int((end - time.monotonic()) * 1e9), 0)
            if lib.kept_wait(self._array, len(self._rings), left) != -errno.EINTR:
                return

    def close(self) -> None:
        """After the worker has ended: what nobody took goes back to the pool."""
        with self._lock:
            rings, self._rings = self._rings, []
            for ring, raw in zip(rings, self._raws, strict=False):
                lib.kept_drop(ring, raw)
                lib.kept_free(ring)


class Run:
    """A worker that runs a handler over some receive queues; a context manager.

    Made by `run`. The queues are its own until it ends. `state` is the array that the handler
    writes to and Python may read meanwhile.
    """

    def __init__(
        self,
        judge: Handler,
        queues: Sequence[RxQueue],
        *,
        state: np.ndarray[Any, Any] | None,
        routes: Sequence[TxQueue],
        back: bool,
        keep: int,
        burst: int,
        cpu: int | None,
    ) -> None:
        _check_numbers(queues, routes, burst, cpu)
        if state is not None:
            _check_state(state)
        self.state = state
        self.handler = judge
        address, code = judge.function(state)
        pairs = [queue.pair for queue in queues]
        outs = [queue.pair for queue in routes]
        out_raws = [_running(pair) for pair in outs]
        self.kept = Kept(pairs, keep)
        config: Any = ffi.new("struct worker_config *")
        config.mode, config.burst = lib.WORKER_HANDLER, burst
        config.cpu = -1 if cpu is None else cpu
        config.back, config.pairs, config.routes = int(back), len(pairs), len(outs)
        config.handler = ffi.cast("handler_fn", address)
        config.state = ffi.NULL if state is None else ffi.cast("void *", state.ctypes.data)
        for i, raw in enumerate(self.kept._raws):
            config.pair[i] = raw
            config.kept[i] = self.kept._rings[i] if keep else ffi.NULL
        for k, out in enumerate(out_raws):
            config.route[k] = out
        error = ffi.new("int *")
        raw = lib.worker_start(config, error)
        if raw == ffi.NULL:
            self.kept.close()
            raise _start_error(error[0], pairs + outs)
        self._raw: Any = raw
        self._last = Counters()
        # The thread uses all of this: it must outlive a run that nobody closed.
        alive = (code, state, pairs, outs)
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._end = weakref.finalize(self, _end, raw, self.kept, self._owner, alive)
        self.kept._run = weakref.ref(self)

    @property
    def counters(self) -> Counters:
        """What it counted so far, at most a few rounds old; after `stop` the last counts."""
        with self._lock:
            if self._raw is not None:
                self._last = _read(self._raw)
            return self._last

    @property
    def ended(self) -> bool:
        """Whether its thread is done: stopped, or its port was closed or lost."""
        return self.counters.state == 3

    def stop(self) -> None:
        """Ends the worker and gives the queues back; kept packets can still be taken."""
        with self._lock:
            if self._raw is not None and os.getpid() == self._owner:
                lib.worker_stop(self._raw)
                self._last = _read(self._raw)

    def close(self) -> None:
        """Stops, and returns kept packets that nobody took to the pool. Twice is harmless."""
        self.stop()
        with self._lock:
            self._raw = None
            self._end()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Run of {self.handler!r}, {'ended' if self.ended else 'running'}>"


def run(
    judge: Handler,
    queues: Port | Sequence[RxQueue] | RxQueue,
    *,
    state: np.ndarray[Any, Any] | None = None,
    routes: Sequence[TxQueue] = (),
    back: bool = True,
    keep: int = 0,
    burst: int = 32,
    cpu: int | None = None,
) -> Run:
    """Starts a worker that asks `judge` about every packet of some receive queues.

    `queues`: of started ports that share a pool; a port means all of its own. `state`: a
    C-contiguous array, passed to the handler. `routes`: send queues for the verdicts ROUTE + k.
    `back=False`: the send sides of the queues stay free for other callers, BACK is not allowed.
    `keep`: packets that may wait for `kept.recv()`, rounded up to a power of two; 0: KEEP is not
    allowed. `burst`: packets a call, 1 to 256; `cpu` to run on. Raises ConfigError or StateError.
    """
    if isinstance(queues, RxQueue):
        queues = [queues]
    elif not isinstance(queues, Sequence):
        queues = queues.rx
    return Run(
        judge, queues, state=state, routes=routes, back=back, keep=keep, burst=burst, cpu=cpu
    )


def _check_numbers(
    queues: Sequence[RxQueue], routes: Sequence[TxQueue], burst: int, cpu: int | None
) -> None:
    if not 1 <= len(queues) <= MOST_QUEUES or len(routes) > MOST_QUEUES:
        raise ConfigError(
            f"a run of {len(queues)} queues and {len(routes)} routes",
            f"1 to {MOST_QUEUES} queues and at most {MOST_QUEUES} routes are possible",
            "",
        )
    if not all(isinstance(q, RxQueue) for q in queues):
        raise ConfigError("a run takes receive queues", "", "run(handler, port.rx)")
    if not all(isinstance(q, TxQueue) for q in routes):
        raise ConfigError("routes are send queues", "", "run(..., routes=port.tx)")
    if len({id(q.pair.pool) for q in (*queues, *routes)}) > 1:
        raise ConfigError(
            "the queues of a run do not share a pool",
            "packets go on without being copied",
            "open the ports with the same pool: iavfio.open(..., pool=pool)",
        )
    if not 1 <= burst <= BURST:
        raise ConfigError(f"bursts of {burst} packets", f"1 to {BURST} are possible", "use 32")
    if cpu is not None and cpu not in os.sched_getaffinity(0):
        able = ", ".join(str(c) for c in sorted(os.sched_getaffinity(0)))
        raise ConfigError(f"CPU {cpu} cannot be used", f"this process may run on {able}", "")


def _check_state(state: object) -> None:
    good = isinstance(state, np.ndarray) and state.flags.c_contiguous and state.flags.writeable
    if not good or state.dtype.hasobject or not state.size:  # type: ignore[attr-defined]
        raise ConfigError(
            "this state cannot be shared with a handler",
            "it is a C-contiguous, writable array of numbers or records, not empty",
            "state = np.zeros(1, dtype=[('hits', 'u8')])",
        )


def _running(pair: QueuePair) -> Any:
    if pair.raw is None:
        raise StateError("a queue pair is not running", "its port is stopped", "port.start()")
    return pair.raw


def _start_error(code: int, pairs: Sequence[QueuePair]) -> IavfioError:
    if code == -errno.EBUSY:
        return StateError(
            "the handler cannot have its queues",
            "another worker or thread is using one of them",
            "close that worker first; back=False leaves the send sides free",
        )
    numbers = ", ".join(str(pair.index) for pair in pairs)
    return StateError(f"a worker for queues {numbers} cannot start", os.strerror(-code), "")


def _read(raw: Any) -> Counters:
    counters = lib.worker_counters(raw)
    return Counters(**{f.name: int(getattr(counters, f.name)) for f in fields(Counters)})


def _end(raw: Any, kept: Kept, owner: int, alive: object) -> None:
    """`alive`: what the thread may touch until it has ended. A forked child has no such thread."""
    if os.getpid() == owner:
        lib.worker_free(raw)
        kept.close()
