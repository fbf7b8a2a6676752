# SPDX-License-Identifier: BSD-3-Clause
"""What a handler may return about a packet: the actions, named as XDP names them."""

from __future__ import annotations

from iavfio._driver import lib

DROP: int = lib.ACTION_DROP
"""Return the buffer to the pool."""
TX: int = lib.ACTION_TX
"""Send on the queue pair that the packet came from."""
PASS: int = lib.ACTION_PASS
"""Deliver to Python: `run.passed.recv()`."""
REDIRECT: int = lib.ACTION_REDIRECT
"""REDIRECT + k: send on `redirect[k]`."""
FAILED: int = lib.ACTION_FAILED
"""What C is told of a packet whose handler raised an error; no action reaches this number."""
