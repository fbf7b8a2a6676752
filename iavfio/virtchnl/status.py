# SPDX-License-Identifier: BSD-3-Clause
"""v_retval in both dialects, and the error for a refusal (docs/spec/virtchnl.md 3, 9)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from iavfio._driver import lib
from iavfio.errors import PfRefused
from iavfio.virtchnl.messages.message_type import Advice, AnyMessage
from iavfio.virtchnl.messages.wire import Malformed

_PREFIX = "VC_STATUS_"
VIRTCHNL: Final[Mapping[int, str]] = MappingProxyType(
    {
        int(getattr(lib, name)): name.removeprefix(_PREFIX)
        for name in dir(lib)
        if name.startswith(_PREFIX)
    }
)


_NOT_SUPPORTED = Advice(
    "it does not know the request, did not grant its capability, or has just reset the VF",
    "negotiate again; if it persists do without the feature",
)
_NO_MEMORY = Advice("it is out of memory or of filter entries", "remove filters of other VFs")
LONGEST = 120  # characters of what was sent
_SILENT = "a status is all that the PF tells"


def status_name(status: int) -> str:
    """Returns the name of a v_retval: virtchnl's (ice) and the errno that i40e means by it.

    Where the two dialects use one number for different things, both names are given.
    """
    names = [VIRTCHNL[status]] if status in VIRTCHNL else []
    if status < 0 and -status in errno.errorcode and (not names or -status == errno.EIO):
        names.append(errno.errorcode[-status])
    if status > 0:
        names.append("admin queue code")
    return " or ".join(names) or "unknown"


def refusal(message: AnyMessage, status: int, payload: bytes | None = None) -> PfRefused:
    """Returns the error for a reply to `message` with a status other than 0.

    It tells what was sent (`payload`) and what the PF answered, and what are only possible reasons
    as such: PFs use one number for many. The message decides about these; only what says clearly
    "not supported" or "no memory" goes before.
    """
    if status in (lib.VC_STATUS_ERR_NOT_SUPPORTED, -errno.EOPNOTSUPP):
        advice = _NOT_SUPPORTED
    elif status in (lib.VC_STATUS_ERR_NO_MEMORY, -errno.ENOMEM, -errno.ENOSPC):
        advice = _NO_MEMORY
    else:
        advice = message.advice
    what = f"the PF refused {message.name} with {status} ({status_name(status)})"
    causes = [f"possible reasons: {advice.reasons}" if advice.reasons else _SILENT]
    if sent := _sent(message, payload):
        causes.insert(0, f"it was sent {sent}")
    return PfRefused(what, status, "; ".join(causes), advice.remedy, message.number)


def _sent(message: AnyMessage, payload: bytes | None) -> str:
    """The line that the journal has of a request, or its beginning; "" where there is none."""
    try:
        line = message.show(payload) if payload else ""
    except Malformed:
        return ""
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."
