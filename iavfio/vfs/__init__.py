# SPDX-License-Identifier: BSD-3-Clause
"""VFs of a PF as its administrator sees them: made, set up, read back, and put back as they were.

A `Pf` is a card's, over sysfs and rtnetlink, or a software PF, over its control socket.
"""

from iavfio.vfs.change import Changed, apply
from iavfio.vfs.finding import find
from iavfio.vfs.pf import NOT_TOLD, Pf, VfState
from iavfio.vfs.undo import Undone, undo
from iavfio.vfs.words import WORDS, parse

__all__ = [
    "NOT_TOLD",
    "WORDS",
    "Changed",
    "Pf",
    "Undone",
    "VfState",
    "apply",
    "find",
    "parse",
    "undo",
]
