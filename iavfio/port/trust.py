# SPDX-License-Identifier: BSD-3-Clause
"""Whether the host trusts a VF: no message tells it, so it is found out.

Promiscuous mode of an untrusted VF is answered with SUCCESS and does nothing, by ice and by i40e
(docs/spec/virtchnl.md 9). What both refuse to an untrusted VF is more filters than its limit of 18.
"""

from __future__ import annotations

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

    Two to five short messages; nothing stays in the PF. "unknown" when the PF refuses even one
    address, does not grant MAC filters, or does not answer; `held` then has what may have stayed
    among its doubtful filters, so that it is deleted when the PF answers again.
    """
    try:
        if _added(client, held, PROBES):
            return "trusted"
        return "untrusted" if _added(client, held, PROBES[:1]) else "unknown"
    except IavfioError:
        return "unknown"


def _added(client: VirtchnlClient, held: PfState, macs: Sequence[bytes]) -> bool:
    """Whether the PF takes these filters. It is left without them, as far as it answers.

    A PF that refuses a list may have taken the first addresses of it; deleting the list takes those
    back, and is refused after them.
    """
    held.doubtful.update(macs)
    try:
        client.ask(ADD_ETH_ADDR(macs))
        taken = True
    except PfRefused:
        taken = False
    try:
        client.ask(DEL_ETH_ADDR(macs))
    except PfRefused:
        pass
    held.doubtful.difference_update(macs)
    return taken
