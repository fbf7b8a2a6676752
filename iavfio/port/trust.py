# SPDX-License-Identifier: BSD-3-Clause
"""Whether the host trusts a VF: no message tells it, so it is found out.

Promiscuous mode of an untrusted VF is answered with SUCCESS and does nothing, by ice and by i40e
(docs/spec/virtchnl.md 9). What both refuse to an untrusted VF is more filters than its limit of 18.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from iavfio.errors import IavfioError, ItemRefused
from iavfio.virtchnl.messages.filters import DEL_ETH_ADDR

if TYPE_CHECKING:
    from iavfio.virtchnl.client import VirtchnlClient

Trust = Literal["trusted", "untrusted", "unknown"]
LIMIT = 18  # filters of an untrusted VF, its broadcast filter among them (docs/spec/virtchnl.md 9)
# Locally administered multicast addresses that nobody uses; one more than an untrusted VF may have.
PROBES = tuple(bytes.fromhex("036961766600")[:5] + bytes([n]) for n in range(LIMIT + 1))


def probe_trust(client: VirtchnlClient) -> Trust:
    """Adds one address more than an untrusted VF may have, and withdraws what was added.

    Some twenty short messages; nothing stays in the PF. "unknown" when the PF refuses even the
    first address, does not grant MAC filters, or does not answer.
    """
    added: Sequence[bytes] = PROBES
    answer: Trust = "trusted"
    try:
        client.add_macs(PROBES)
    except ItemRefused as refused:
        added = tuple(mac for mac in PROBES if mac in refused.accepted)
        answer = "untrusted" if added else "unknown"
    except IavfioError:
        return "unknown"
    try:
        if added:
            client.ask(DEL_ETH_ADDR(added))
    except IavfioError:
        pass  # a reset in between has taken them back
    return answer
