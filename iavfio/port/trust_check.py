# SPDX-License-Identifier: BSD-3-Clause
"""Whether promiscuous and all-multicast mode are in force; it is said where they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.port.state import State
from iavfio.port.trust import Trust, probe_trust

if TYPE_CHECKING:
    from iavfio.port.desired import Wish
    from iavfio.port.status import PortStatus
    from iavfio.virtchnl.client import VirtchnlClient

TAKEN_AWAY = (
    "the host has taken the trust in this VF away: promiscuous modes and more than 16 addresses "
    "are not in force any more\n"
    "  on the host: ip link set PF vf N trust on"
)


def not_in_force(promiscuous: bool) -> str:
    """The note for an untrusted VF that wants promiscuous or all-multicast mode."""
    mode = "promiscuous mode" if promiscuous else "all-multicast mode"
    return (
        f"{mode} is not in force, although the PF said yes: the host does not trust this VF\n"
        "  on the host: ip link set PF vf N trust on; or name the addresses in extra_macs"
    )


class TrustCheck:
    """Asks once where it matters, and again after each reset, which makes it `unsure`.

    An untrusted VF is answered SUCCESS by its PF and gets nothing (docs/spec/virtchnl.md 9).
    """

    def __init__(self, status: PortStatus) -> None:
        self._status = status
        self._last: Trust = "unknown"
        self.unsure = True

    def check(self, wish: Wish, client: VirtchnlClient) -> None:
        """Probes the PF where it is needed. Under the port's lock."""
        status = self._status
        wanted = any(wish.promiscuity)
        if not wanted:
            status.end("not trusted")
        if status.state is not State.RUNNING or (not wanted and self._last == "unknown"):
            return
        if self.unsure:
            before, self._last = self._last, probe_trust(client)
            self.unsure = False
            if before == "trusted" and self._last == "untrusted":
                status.begin("trust taken away", TAKEN_AWAY)
        if self._last == "trusted":
            status.end("not trusted")
            status.end("trust taken away")
        elif self._last == "untrusted" and wanted:
            status.begin("not trusted", not_in_force(wish.settings.promiscuous))
