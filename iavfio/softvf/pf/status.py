# SPDX-License-Identifier: BSD-3-Clause
"""What a PF thinks of a request, and the number it says (docs/spec/virtchnl.md 3).

The same refusal has another number in each driver: i40e of Linux 6.12 sends errno values; that of
6.1, the out-of-tree version and ice send virtchnl's own or the hardware library's.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from iavfio.softvf.contract import ViolationKind

SUCCESS = 0


class Status(Enum):
    """A reason to refuse."""

    PARAM = "invalid parameter"
    PERM = "not permitted"
    UNSUPPORTED = "not supported"
    NO_SPACE = "no room"
    ADMIN_QUEUE = "the switch refused"
    ADDRESS = "not an address of one host"


_NUMBERS: Mapping[str, Mapping[Status, int]] = MappingProxyType(
    {
        "i40e-6.12": MappingProxyType(
            {
                Status.PARAM: -22,
                Status.PERM: -1,
                Status.UNSUPPORTED: -95,
                Status.NO_SPACE: -28,
                Status.ADMIN_QUEUE: -5,
                Status.ADDRESS: -22,
            }
        ),
        "i40e-6.1": MappingProxyType(
            {
                Status.PARAM: -5,
                Status.PERM: -1,
                Status.UNSUPPORTED: -60,
                Status.NO_SPACE: -18,
                Status.ADMIN_QUEUE: -53,
                Status.ADDRESS: -10,
            }
        ),
        "i40e-oot": MappingProxyType(
            {
                Status.PARAM: -5,
                Status.PERM: -1,
                Status.UNSUPPORTED: -64,
                Status.NO_SPACE: -18,
                Status.ADMIN_QUEUE: -53,
                Status.ADDRESS: -5,
            }
        ),
        "ice": MappingProxyType(
            {
                Status.PARAM: -5,
                Status.PERM: -5,
                Status.UNSUPPORTED: -64,
                Status.NO_SPACE: -53,
                Status.ADMIN_QUEUE: -53,
                Status.ADDRESS: -5,
            }
        ),
    }
)


def number(status: Status | int, driver: str, pf_kernel: str) -> int:
    """v_retval of a refusal; a number stands for itself."""
    if isinstance(status, int):
        return status
    dialect = "ice" if driver == "ice" else f"{driver}-{pf_kernel}"
    return _NUMBERS[dialect.replace("7.x", "6.12")][status]


class Refused(Exception):
    """A handler's answer is an error.

    Its kind is "violation" when the VF's driver broke the protocol, "note" when the PF's policy
    says no. `payload` goes with the refusal where the PF sends one.
    """

    def __init__(
        self,
        status: Status | int,
        text: str,
        *,
        rule: str = "docs/spec/virtchnl.md 9",
        kind: ViolationKind = "violation",
        payload: bytes = b"",
    ) -> None:
        self.status, self.text, self.rule, self.kind = status, text, rule, kind
        self.payload = payload
        super().__init__(text)


class Silence(Exception):
    """A handler's answer is none: the PF says nothing to this message."""
