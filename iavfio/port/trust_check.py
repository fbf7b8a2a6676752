# SPDX-License-Identifier: BSD-3-Clause
"""Whether promiscuous and all-multicast mode are in force; it is said where they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.port.state import State
from iavfio.port.trust import Trust, probe_trust

if TYPE_CHECKING:
    from iavfio.port.desired import Wish
    from iavfio.port.negotiation import Session
    from iavfio.port.status import PortStatus

TAKEN_AWAY = (
    "the host has taken the trust in this VF away: promiscuous modes and more than 16 addresses "
    "are not in force any more\n"
    "  on the host: ip link set PF vf N trust on"
)


ADDRESSES = 16  # that a PF allows a VF which the host does not trust, its own among them
LONGEST_PAUSE = 64  # calls of `check`, one a second


def not_in_force(promiscuous: bool) -> str:
    """The note for an untrusted VF that wants promiscuous or all-multicast mode."""
    mode = "promiscuous mode" if promiscuous else "all-multicast mode"
    return (
        f"{mode} is not in force, although the PF said yes: the host does not trust this VF\n"
        "  on the host: ip link set PF vf N trust on; or name the addresses in extra_macs (for "
        "IPv6 neighbour discovery 33:33:ff and the last three bytes of the IPv6 address)"
    )


class TrustCheck:
    """Asks where it matters until the PF has told, and again after each reset.

    An untrusted VF is answered SUCCESS by its PF and gets nothing (docs/spec/virtchnl.md 9). A
    probe without a result is repeated after 1, 2, 4 ... 64 calls of `check`.
    """

    def __init__(self, status: PortStatus) -> None:
        self._status = status
        self._last: Trust = "unknown"
        self.ask_again()

    def ask_again(self) -> None:
        """The answer may be another one now."""
        self._unsure, self._pause, self._skip = True, 1, 0

    @property
    def told(self) -> Trust:
        """What the PF has told since the last reset; "unknown" as long as it has not."""
        return "unknown" if self._unsure else self._last

    def check(self, wish: Wish, session: Session) -> None:
        """Probes the PF where it is needed. Under the port's lock."""
        status = self._status
        wanted = any(wish.promiscuity)
        hindered = wanted or len(wish.settings.extra_macs) >= ADDRESSES
        if not wanted:
            status.end("not trusted")
        if not hindered:
            status.end("trust taken away")
        if status.state is not State.RUNNING or (not wanted and self._last == "unknown"):
            return
        if self._unsure:
            self._ask(session, hindered)
            if self._unsure:
                return
        if self._last == "trusted":
            status.end("not trusted")
            status.end("trust taken away")
        elif self._last == "untrusted" and wanted:
            status.tell("not trusted", not_in_force(wish.settings.promiscuous))

    def _ask(self, session: Session, hindered: bool) -> None:
        if self._skip:
            self._skip -= 1
            return
        told = probe_trust(session.client, session.held)
        if told == "unknown":
            self._skip = self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            return
        before, self._last = self._last, told
        self._unsure = False
        if before == "trusted" and told == "untrusted" and hindered:
            self._status.begin("trust taken away", TAKEN_AWAY)
