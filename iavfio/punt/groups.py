# SPDX-License-Identifier: BSD-3-Clause
"""The groups that the kernel joins on a TAP: a port receives them as long as they are joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iavfio.errors import IavfioError, PfRefused
from iavfio.port.port import Port


class Groups:
    """Adds groups to a port's further addresses, and takes them back. One caller at a time.

    A PF that refuses one is asked for all-multicast mode instead, and `note` is told.
    """

    def __init__(self, port: Port, note: Callable[[str], None]) -> None:
        self._port, self._note = port, note
        self._seen: tuple[bytes, ...] = ()
        self._added: tuple[bytes, ...] = ()
        self._all = False  # all-multicast mode is ours

    def follow(self, groups: Sequence[bytes]) -> None:
        """Makes the port receive these groups; what cannot be done now is tried at the next call.

        Raises nothing for a port that is in a reset, has failed or is closed.
        """
        wanted = tuple(groups)
        in_force = set(self._added) <= set(self._port.settings.extra_macs)  # nobody replaced them
        if wanted == self._seen and in_force:
            return
        try:
            self._receive(wanted)
        except IavfioError:
            return
        self._seen = wanted

    def take_back(self) -> None:
        """The port receives what it received before. A PF that refuses is noted."""
        try:
            self._set_all(False)
            self._put(())
        except IavfioError as error:
            if self._port.state in ("running", "stopped"):
                self._note(f"the groups of the TAP are not taken back: {error.what}")

    def _receive(self, wanted: tuple[bytes, ...]) -> None:
        try:
            self._put(wanted)
        except PfRefused as refused:
            if not self._all:
                self._note(
                    f"the PF does not take the groups of the TAP, all-multicast mode is asked for "
                    f"instead: {refused.what}"
                )
            self._set_all(True)
        else:
            self._set_all(False)

    def _put(self, wanted: tuple[bytes, ...]) -> None:
        have = self._port.settings.extra_macs
        added = tuple(mac for mac in wanted if mac not in have or mac in self._added)
        if added != self._added or not set(added) <= set(have):
            self._port.control.exchange_extra_macs(self._added, added)
            self._added = added

    def _set_all(self, on: bool) -> None:
        settings = self._port.settings
        if on == self._all or (on and settings.all_multicast):
            return
        self._port.set_promiscuous(settings.promiscuous, all_multicast=on)
        self._all = on
