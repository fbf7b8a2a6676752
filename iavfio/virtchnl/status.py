# SPDX-License-Identifier: BSD-3-Clause
"""v_retval in both dialects, and what a refusal most likely means (spec: virtchnl 3, 9)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from iavfio._driver import lib
from iavfio.errors import PfRefused
from iavfio.virtchnl.messages import opcodes as op

_PREFIX = "VC_STATUS_"
VIRTCHNL: Final[Mapping[int, str]] = MappingProxyType(
    {
        int(getattr(lib, name)): name.removeprefix(_PREFIX)
        for name in dir(lib)
        if name.startswith(_PREFIX)
    }
)


class Advice(NamedTuple):
    """Cause and remedy of a refusal."""

    cause: str
    remedy: str


_TRUST = "on the host: ip link set dev <PF> vf <N> trust on"
_RETRY = "wait for the VF to become ready and negotiate again"
_ARGUMENTS = Advice("the PF finds an argument invalid", "the mailbox journal shows what was sent")

# What each request is refused for, whatever number says so: PFs disagree about the numbers.
ADVICE: Final[Mapping[int, Advice]] = MappingProxyType(
    {
        op.GET_VF_RESOURCES: Advice("the PF is still finishing a reset of this VF", _RETRY),
        op.CONFIG_VSI_QUEUES: Advice(
            "ring length, buffer size, frame size or VSI id is beyond what this PF takes",
            "use fewer queues, rings of at most 4096, or a smaller MTU",
        ),
        op.CONFIG_IRQ_MAP: Advice(
            "a vector does not exist, or ice was given queues on vector 0",
            "use vectors 1..N of those that the VF has",
        ),
        op.ENABLE_QUEUES: Advice(
            "the host disabled the link, or the queues were not configured",
            "on the host: ip link set dev <PF> vf <N> state auto",
        ),
        op.ADD_ETH_ADDR: Advice(
            "the VF is not trusted: the host set its MAC address, or it has too many of them",
            _TRUST,
        ),
        op.DEL_ETH_ADDR: Advice("the PF does not know this address", ""),
        op.ADD_VLAN: Advice(
            "the host put the VF into a port VLAN, or the filters are full", _TRUST
        ),
        op.ADD_VLAN_V2: Advice("the VLAN filters are full, or the tag is not supported", _TRUST),
        op.CONFIG_PROMISCUOUS_MODE: Advice("the PF could not set the filter", _TRUST),
        op.CONFIG_RSS_KEY: Advice("the key does not have the length that the PF wants", ""),
        op.CONFIG_RSS_LUT: Advice("the table has a wrong length or names a missing queue", ""),
        op.CONFIG_RSS_HFUNC: Advice("this PF cannot choose the hash function", "leave it alone"),
        op.SET_RSS_HASHCFG: Advice("the PF cannot hash these packet types", "use its default set"),
        op.ENABLE_VLAN_STRIPPING: Advice("the host put the VF into a port VLAN", ""),
        op.DISABLE_VLAN_STRIPPING: Advice("the host put the VF into a port VLAN", ""),
    }
)

_NOT_SUPPORTED = Advice(
    "this PF does not know the request, did not grant its capability, or has just reset the VF",
    "negotiate again; if it persists do without the feature",
)
_NO_MEMORY = Advice("the PF is out of memory or filter entries", "remove filters of other VFs")


def status_name(status: int) -> str:
    """The number's name: virtchnl's (ice) and, where it differs, the errno that i40e sends."""
    names = [VIRTCHNL[status]] if status in VIRTCHNL else []
    if status < 0 and -status in errno.errorcode and (not names or -status == errno.EIO):
        names.append(errno.errorcode[-status])
    if status > 0:
        names.append("admin queue code")
    return " or ".join(names) or "unknown"


def refusal(opcode: int, status: int) -> PfRefused:
    """The error for a reply with a status other than 0."""
    if status in (lib.VC_STATUS_ERR_NOT_SUPPORTED, -errno.EOPNOTSUPP):
        advice = _NOT_SUPPORTED
    elif status in (lib.VC_STATUS_ERR_NO_MEMORY, -errno.ENOMEM, -errno.ENOSPC):
        advice = _NO_MEMORY
    else:
        advice = ADVICE.get(opcode, _ARGUMENTS)
    what = f"the PF refused {op.opcode_name(opcode)} with {status} ({status_name(status)})"
    return PfRefused(what, status, advice.cause, advice.remedy, opcode)
