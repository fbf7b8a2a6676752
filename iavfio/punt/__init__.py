# SPDX-License-Identifier: BSD-3-Clause
"""The exception path: packets that leave the fast path for the kernel by a TAP, and come back."""

from iavfio.punt.counts import Counts, FromTap, ToTap
from iavfio.punt.punt import Punt
from iavfio.punt.run import Punted
from iavfio.punt.selections import everything, usual
from iavfio.punt.tap import Tap

__all__ = ["Counts", "FromTap", "Punt", "Punted", "Tap", "ToTap", "everything", "usual"]
