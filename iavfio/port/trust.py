# SPDX-License-Identifier: BSD-3-Clause
"""Whether the host trusts a VF: no message tells it, so it is found out.

Promiscuous mode of an untrusted VF is answered with SUCCESS and does nothing, by ice and by i40e
(docs/spec/virtchnl.md 9). What both refuse to an untrusted VF is more filters than its limit of 18.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from iavfio.errors import IavfioError, PfRefused
from iavfio.virtchnl.messages.filters import ADD_ETH_ADDR, DEL_ETH_ADDR

if TYPE_CHECKING:
    from iavfio.port.pf_state import PfState
    from iavfio.virtchnl.client import VirtchnlClient

Trust = Literal["trusted", "untrusted", "unknown"]
LIMIT = 18  # filters of an untrusted VF, its broadcast filter among them (docs/spec/virtchnl.md 9)
# Locally administered multicast addresses that nobody uses; one more than an untrusted VF may have.
PROBES = tuple(bytes.fromhex("036961766600")[:5] + bytes([n]) for n in range(LIMIT + 1))


def probe_trust(client: VirtchnlClient, held: PfState) -> Trust:
    """Adds one address more than an untrusted VF may have, and withdraws what was added.

    Few short messages; nothing stays in the PF. "unknown" when the PF refuses even one address
    that it has room for, does not grant MAC filters, or does not answer; `held` then has what may
    have stayed among its doubtful filters, so that it is deleted when the PF answers again.
    """
    # One address of the record may be missing in the PF, and broadcast is not in the record.
    # What a trusted VF with many addresses is refused would be for want of room.
    if len(held.macs) > LIMIT:
        return "trusted"
    held.doubtful.update(PROBES)
    try:
        if _refusal(client, PROBES) is None:
            _delete(client, held, PROBES)
            return "trusted"
        refused = _take_back(client, held)
    except IavfioError:
        return "unknown"
    if refused is None:
        return "untrusted"
    # The one address was refused: where the PF says that this is for want of trust, or where an
    # untrusted VF has no room left, nothing of the list is there, and nothing is to be deleted.
    if refused.status == -errno.EPERM or len(held.macs) >= LIMIT - 2:
        held.doubtful.difference_update(PROBES)
        return "untrusted"
    return "unknown"


def _take_back(client: VirtchnlClient, held: PfState) -> PfRefused | None:
    """Deletes what the PF may have taken of a list that it refused; the refusal of its first.

    i40e refuses to delete an address that it does not have, and a PF may have taken the first
    addresses of the list (docs/spec/pf-dialects.md 3). So a part is deleted only after the PF
    has taken it again, which is fine with every PF for what is there already.
    """
    at, size = 0, 1
    while at < len(PROBES):
        part = PROBES[at : at + size]
        refused = _refusal(client, part)
        if refused is None:
            _delete(client, held, part)
            size = len(PROBES) // 2 if at == 0 else size
            at += len(part)
        elif len(part) > 1:
            size = len(part) // 2
        elif at == 0:
            return refused
        else:
            break  # the PF took none from here on, since it takes a list in order
    held.doubtful.difference_update(PROBES)
    return None


def _refusal(client: VirtchnlClient, macs: Sequence[bytes]) -> PfRefused | None:
    """Adds these filters; the PF's refusal, if it refused."""
    try:
        client.ask(ADD_ETH_ADDR(macs))
    except PfRefused as refused:
        return refused
    return None


def _delete(client: VirtchnlClient, held: PfState, macs: Sequence[bytes]) -> None:
    """Deletes these filters, which the PF has just taken."""
    try:
        client.ask(DEL_ETH_ADDR(macs))
    except PfRefused:
        pass  # it had said that it took them; there is nothing more to be done
    held.doubtful.difference_update(macs)
