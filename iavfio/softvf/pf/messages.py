# SPDX-License-Identifier: BSD-3-Clause
"""What the PF's driver knows of one message, as one row.

Rows stand at the end of the file of their subject; `table` collects them. The PF shares nothing
with the table of the VF's driver: the two are opinions of one protocol, formed apart
(docs/adr/0001).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from iavfio.softvf._device import lib
from iavfio.softvf.pf.vf import Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

Handler = Callable[["Pf", Vf, bytes], bytes]
Unlock = Literal["always", "after GET_VF_RESOURCES", "by capability"]
PfDrivers = Literal["both", "ice", "i40e"]

LINUX = ("6.1", "6.12")  # values of pf_kernel before opcodes of the clock and of rates


@dataclass(frozen=True)
class Message:
    """One opcode: its length, what unlocks it, who serves it.

    Lengths are `fixed` + `per` * n bytes, compared for equality; n is a little-endian field at
    `count_at` of `count_size` bytes. The fixed part of most lists holds one element more than is
    sent, by an old convention of the protocol (docs/spec/virtchnl.md 5).
    `never_zero` are the places of 16-bit fields that may not be zero.
    `unlock` and `gate` are ice's allow-list (docs/spec/virtchnl.md 9). `served_by` names the PFs
    that have a handler, ice those of them that are not in `unserved_by_ice`; `unknown_to` are
    kernels whose drivers lack even the opcode.
    """

    name: str
    handler: Handler | None = None
    fixed: int = 0
    per: int = 0
    count_at: int = 0
    count_size: int = 2
    unlock: Unlock = "by capability"
    gate: int = 0
    any_length: bool = False
    never_zero: tuple[int, ...] = ()
    served_by: PfDrivers = "both"
    unknown_to: tuple[str, ...] = ()
    unserved_by_ice: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """The opcode, from csrc/hw/virtchnl.h."""
        return int(getattr(lib, f"VC_OP_{self.name}"))

    def handler_of(self, driver: str, kernel: str = "") -> Handler | None:
        """Returns the handler in a PF's driver ("ice", "i40e") of a pf_kernel, None without one."""
        unserved = driver == "ice" and kernel in self.unserved_by_ice
        return self.handler if self.served_by in ("both", driver) and not unserved else None

    def length_fault(self, payload: bytes, version: tuple[int, int]) -> str | None:
        """Returns what is wrong with a message's length, in words; None when it is right."""
        if self.any_length:
            return None if payload else "0 bytes, at least 1 wanted"
        wanted = self.fixed
        if self.number == lib.VC_OP_GET_VF_RESOURCES and version != (1, 1):
            wanted = 0  # a v1.0 VF sends no capabilities (docs/spec/virtchnl.md 1)
        if self.per and len(payload) >= wanted:
            n = int.from_bytes(payload[self.count_at :][: self.count_size], "little")
            if n == 0:
                return "a list of 0 elements"
            wanted += n * self.per
        if len(payload) != wanted:
            return f"{len(payload)} bytes, exactly {wanted} wanted"
        if any(payload[at : at + 2] == bytes(2) for at in self.never_zero):
            return "0 in a field that must have a value"
        return None
