# SPDX-License-Identifier: BSD-3-Clause
"""Runs: workers that ask a handler about every packet of some receive queues."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from iavfio._driver import ffi, lib
from iavfio.arguments import Flag, several, wrong_type
from iavfio.datapath.queues import RxQueue, TxQueue
from iavfio.datapath.thread import MOST_PAIRS, WorkerThread, check_burst_and_cpu, running
from iavfio.errors import ConfigError
from iavfio.handlers.handler import Handler
from iavfio.handlers.passed import Passed


class HasQueues(Protocol):
    """A port, as far as `run` needs one."""

    @property
    def rx(self) -> tuple[RxQueue, ...]:
        """The port's receive queues."""


class Run(WorkerThread):
    """A worker that runs a handler over some receive queues; a context manager.

    Made by `run`. The queues are its own until it ends. `state` is the array that the handler
    writes to and Python may read meanwhile; `passed` are the packets that it passes to Python.
    """

    def __init__(
        self,
        handler: Handler,
        queues: Sequence[RxQueue],
        *,
        state: np.ndarray[Any, Any] | None,
        redirect: Sequence[TxQueue],
        tx: bool,
        pass_ring: int,
        burst: int,
        cpu: int | None,
    ) -> None:
        redirect = several("redirect", redirect, "send queues")
        Flag()("tx", tx)
        _check_queues(queues, redirect)
        check_burst_and_cpu(burst, cpu)
        if state is not None:
            _check_state(state)
        self.state = state
        self.handler = handler
        address, code = handler.function(state)
        pairs = [queue.pair for queue in queues]
        outs = [queue.pair for queue in redirect]
        config: Any = ffi.new("struct worker_config *")
        for k, out in enumerate(outs):
            config.redirect[k] = running(out)
        self.passed = Passed(pairs, pass_ring)
        self.passed.lend(config)
        config.mode, config.burst = lib.WORKER_HANDLER, burst
        config.cpu = -1 if cpu is None else cpu
        config.tx, config.pairs, config.redirects = int(tx), len(pairs), len(outs)
        config.handler = ffi.cast("handler_fn", address)
        config.state = ffi.NULL if state is None else ffi.cast("void *", state.ctypes.data)
        super().__init__(config, pairs + outs, (code, state), self.passed.close)
        self.passed.owner = weakref.ref(self)

    def __repr__(self) -> str:
        return f"<Run of {self.handler!r}, {'ended' if self.ended else 'running'}>"


def run(
    handler: Handler,
    queues: HasQueues | Sequence[RxQueue] | RxQueue,
    *,
    state: np.ndarray[Any, Any] | None = None,
    redirect: Sequence[TxQueue] = (),
    tx: bool = True,
    pass_ring: int = 0,
    burst: int = 32,
    cpu: int | None = None,
) -> Run:
    """Starts a worker that asks `handler` about every packet of some receive queues.

    `queues`: of started ports that share a pool; a port means all of its own. `state`: a
    C-contiguous array, passed to the handler. `redirect`: send queues for the actions REDIRECT + k.
    `tx=False`: the send sides of the queues stay free for other callers, TX is not allowed.
    `pass_ring`: packets that may wait for `passed.recv()`, rounded up to a power of two; 0: PASS is
    not allowed. `burst`: packets a call, 1 to 256; `cpu` to run on. Raises ConfigError or
    StateError.
    """
    if isinstance(queues, RxQueue):
        queues = [queues]
    elif not isinstance(queues, Sequence):
        if not hasattr(queues, "rx"):
            raise wrong_type("queues", queues, "a port or its receive queues", "run(h, port.rx)")
        queues = queues.rx
    if not hasattr(handler, "function"):
        raise wrong_type("handler", handler, "a handler", "make one with @iavfio.handler")
    return Run(
        handler,
        queues,
        state=state,
        redirect=redirect,
        tx=tx,
        pass_ring=pass_ring,
        burst=burst,
        cpu=cpu,
    )


def _check_queues(queues: Sequence[RxQueue], redirect: Sequence[TxQueue]) -> None:
    if not 1 <= len(queues) <= MOST_PAIRS or len(redirect) > MOST_PAIRS:
        raise ConfigError(
            f"a run of {len(queues)} receive queues and {len(redirect)} to redirect to",
            f"1 to {MOST_PAIRS} and at most {MOST_PAIRS} are possible",
        )
    if not all(isinstance(q, RxQueue) for q in queues):
        raise ConfigError("a run takes receive queues", "", "run(handler, port.rx)")
    if not all(isinstance(q, TxQueue) for q in redirect):
        raise ConfigError("redirect= takes send queues", "", "run(..., redirect=port.tx)")
    if len({id(q.pair.pool) for q in (*queues, *redirect)}) > 1:
        raise ConfigError(
            "the queues of a run do not share a pool",
            "packets go on without being copied",
            "open the ports with the same pool: iavfio.open(..., pool=pool)",
        )


def _check_state(state: object) -> None:
    if (
        not isinstance(state, np.ndarray)
        or not (state.flags.c_contiguous and state.flags.writeable)
        or state.dtype.hasobject
        or not state.size
    ):
        raise ConfigError(
            "this state cannot be shared with a handler",
            "it must be a C-contiguous, writable array of numbers or records, and not empty",
            "state = np.zeros(1, dtype=[('hits', 'u8')])",
        )
