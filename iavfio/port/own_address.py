# SPDX-License-Identifier: BSD-3-Clause
"""A port's own address: the user's, the PF's, or one that is made here."""

from __future__ import annotations

from iavfio.port.identity import own_mac
from iavfio.port.pf_state import PfState
from iavfio.port.settings import Settings
from iavfio.port.status import PortStatus


class OwnAddress:
    """Which address is in force, and whose it is. `given`: the PF's choice, None without one."""

    def __init__(self, name: str) -> None:
        self.given: bytes | None = None
        self._made = own_mac(name)

    def wanted(self, settings: Settings) -> bytes:
        """The address that shall be in force."""
        return settings.mac or self.given or self._made

    def is_made(self, settings: Settings) -> bool:
        """Whether that address was made here, so that traffic goes on where the PF refuses it."""
        return settings.mac is None and self.given is None

    def adopt(
        self, given: bytes | None, had: PfState, settings: Settings, status: PortStatus
    ) -> None:
        """Takes over what the PF tells after a reset: what the host has set is what works.

        A PF also tells the address that it had from us before the reset (docs/spec/virtchnl.md 8);
        `had` is the record of that time.
        """
        if given is None:
            self._made, self.given = self.given or self._made, None
        elif given not in (had.primary, *had.doubtful, self.given):
            self.given = given
            if settings.mac is None:
                status.note(f"the PF changed the MAC address to {given.hex(':')}")
                status.emit("mac", given.hex(":"))
        if settings.mac is None:
            status.mac = self.wanted(settings)
