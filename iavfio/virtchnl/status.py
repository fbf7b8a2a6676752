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

_PREFIX = "VC_STATUS_"
VIRTCHNL: Final[Mapping[int, str]] = MappingProxyType(
    {
        int(getattr(lib, name)): name.removeprefix(_PREFIX)
        for name in dir(lib)
        if name.startswith(_PREFIX)
    }
)


_NOT_SUPPORTED = Advice(
    "this PF does not know the request, did not grant its capability, or has just reset the VF",
    "negotiate again; if it persists do without the feature",
)
_NO_MEMORY = Advice("the PF is out of memory or filter entries", "remove filters of other VFs")


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


def refusal(message: AnyMessage, status: int) -> PfRefused:
    """Returns the error for a reply to `message` with a status other than 0.

    The message decides about the advice, since PFs disagree about the numbers; only what says
    clearly "not supported" or "no memory" goes before.
    """
    if status in (lib.VC_STATUS_ERR_NOT_SUPPORTED, -errno.EOPNOTSUPP):
        advice = _NOT_SUPPORTED
    elif status in (lib.VC_STATUS_ERR_NO_MEMORY, -errno.ENOMEM, -errno.ENOSPC):
        advice = _NO_MEMORY
    else:
        advice = message.advice
    what = f"the PF refused {message.name} with {status} ({status_name(status)})"
    return PfRefused(what, status, advice.cause, advice.remedy, message.number)
