# SPDX-License-Identifier: BSD-3-Clause
"""Packet handlers: Python functions compiled by Numba, or C functions, inside C workers.

A handler is asked about every packet without Python's lock and returns an action: DROP, TX, PASS or
REDIRECT + k. `run` gives receive queues to a worker that asks it.
"""

from iavfio.datapath.thread import Counters
from iavfio.handlers.actions import DROP, PASS, REDIRECT, TX
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
from iavfio.handlers.handler import Handler, builtin, from_address, handler
from iavfio.handlers.run import Run, run

__all__ = [
    "DROP",
    "PASS",
    "REDIRECT",
    "TX",
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
