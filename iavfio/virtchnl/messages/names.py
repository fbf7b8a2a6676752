# SPDX-License-Identifier: BSD-3-Clause
"""Names of virtchnl opcodes, read from the one list in csrc/hw/virtchnl.h.

The list also has opcodes that this driver never sends, so that the journals of other drivers can be
read (docs/spec/virtchnl.md 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from iavfio._driver import lib

_PREFIX = "VC_OP_"
NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {
        int(getattr(lib, name)): name.removeprefix(_PREFIX)
        for name in dir(lib)
        if name.startswith(_PREFIX)
    }
)
NUMBERS: Final[Mapping[str, int]] = MappingProxyType({name: n for n, name in NAMES.items()})


def opcode_name(opcode: int) -> str:
    """Returns the field's name of an opcode, or "opcode N" for a number that is not known."""
    return NAMES.get(opcode, f"opcode {opcode}")
