# SPDX-License-Identifier: BSD-3-Clause
"""Names and versions of the JSON objects that this room writes; `records.py` has their types.

They stand apart because msgspec, which the types need, takes a while to import.
"""

COUNTERS = "iavfio.stats.counters/1"
PORT = "iavfio.stats.port/1"
REMOVED = "iavfio.stats.removed/1"
