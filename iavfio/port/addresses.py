# SPDX-License-Identifier: BSD-3-Clause
"""The MAC filters of a VF: added and deleted until the PF holds exactly those that are wanted.

An untrusted VF may have some 16 filters, and ice counts even those that are there already when a
message adds them again (docs/spec/virtchnl.md 9). So only the difference is sent, what is no longer
wanted goes first, and what a refused list has left behind is deleted again.
"""

from __future__ import annotations

from collections.abc import Sequence

from iavfio.errors import ItemRefused, PfRefused
from iavfio.port.pf_state import PfState
from iavfio.port.status import Tell
from iavfio.virtchnl.client import VirtchnlClient
from iavfio.virtchnl.messages.filters import DEL_ETH_ADDR


class Addresses:
    """Changes the filters; `held.macs` is what the PF has, after each call and after each error."""

    def __init__(self, client: VirtchnlClient, held: PfState, tell: Tell) -> None:
        self._client = client
        self._held = held
        self._tell = tell

    def apply(self, own: bytes, extra: Sequence[bytes], *, made: bool, lenient: bool) -> bytes:
        """Makes the PF hold `own` and `extra`, and nothing else; returns the own address in force.

        A refused address raises ItemRefused, and the PF holds what it held before as far as it can
        be had again. It is noted instead where `lenient`, or for an own address that iavfio has
        `made`. Raises MailboxError or ResetUnderWay.
        """
        before, primary = list(self._held.macs), self._held.primary
        wanted = list(dict.fromkeys([own, *extra]))
        # The first address stays until the new one is accepted: the PF may allow no other.
        stays = before[:1] if own not in before else []
        self._delete_but(wanted + stays)
        try:
            in_force = self._add_own(own, wanted, made or lenient)
            if own in self._held.macs:
                self._delete_but(wanted)
            self._add([mac for mac in wanted if mac != own], lenient)
        except PfRefused:
            self._go_back(before, primary)
            raise
        return in_force

    def withdraw(self, given: bytes | None) -> None:
        """Leaves the PF with the address that it gave, or none. Raises as a request does.

        ice takes an own address back only for another one, also where that is a filter already.
        """
        held = self._held
        if given is not None and (given not in held.macs or held.primary != given):
            text = ""
            try:
                self._send_add([given], given)
            except PfRefused as refused:
                text = f"the PF's own address could not be given back: {refused.what}"
            self._tell("address given back", text)
        self._delete_but([] if given is None else [given])

    def _add_own(self, own: bytes, wanted: Sequence[bytes], lenient: bool) -> bytes:
        """Adds `own` as the VF's own address, also where the PF has it as one of the others."""
        held = self._held
        if own in held.macs and own == held.primary:
            self._tell("own address", "")
            return own
        others = (mac for mac in reversed(held.macs[1:]) if mac in wanted and mac != own)
        spare = next(others, None)
        try:
            try:
                self._send_add([own], own)
            except ItemRefused:
                if spare is None:
                    raise
                # The list may be full of addresses that stay: one of them makes room meanwhile.
                self._delete([spare])
                self._send_add([own], own)
        except ItemRefused as refused:
            if not lenient:
                raise
            text = f"the address {own.hex(':')} is not in force: {refused.what}"
            self._tell("own address", text)
            return next((mac for mac in held.macs if not mac[0] & 1), own)
        self._tell("own address", "")
        return own

    def _add(self, macs: Sequence[bytes], lenient: bool) -> None:
        missing = [mac for mac in macs if mac not in self._held.macs]
        for mac in [mac for mac in self._held.missing if mac not in missing]:
            del self._held.missing[mac]  # nobody wants it any more
        self._tell_rest()
        lacking: list[str] = []
        while missing:
            try:
                self._send_add(missing, None)
                break
            except ItemRefused as refused:
                if not lenient:
                    raise
                lacking.append(refused.what)
                missing = missing[len(refused.accepted) + 1 :]
        text = "; ".join(lacking)
        text = text and f"addresses are not in force since the reset: {text}"
        self._tell("further addresses", text)

    def _send_add(self, macs: Sequence[bytes], primary: bytes | None) -> None:
        """Adds filters and writes down which of them the PF has taken, or may have taken."""
        held, error = self._held, None
        held.doubtful.update(macs)  # until the request is answered
        taken = list(macs)
        further = sum(mac != held.primary for mac in held.macs)
        try:
            self._client.add_macs(macs, primary=primary, further=further)
        except ItemRefused as refused:
            taken, error = taken[: len(refused.accepted)], refused
        held.doubtful.difference_update(macs)
        held.macs += [mac for mac in taken if mac not in held.macs]
        if primary is not None and primary in taken:
            held.primary = primary
        for mac in taken:
            held.kept.pop(mac, None)
            held.missing.pop(mac, None)
        if error is not None:
            raise error

    def _delete_but(self, wanted: Sequence[bytes]) -> None:
        """Deletes every filter that the PF holds, or may hold, and that is not wanted."""
        self._delete([mac for mac in (*self._held.macs, *self._held.doubtful) if mac not in wanted])

    def _delete(self, macs: Sequence[bytes]) -> None:
        """Deletes filters; one by one once the PF has refused a list, since some are gone then."""
        held, known = self._held, set(self._held.macs)
        parts = [list(macs)] if macs else []
        while parts:
            part = parts.pop()
            held.macs = [mac for mac in held.macs if mac not in part]
            held.doubtful.update(part)  # until the request is answered
            try:
                self._client.ask(DEL_ETH_ADDR(part))
            except PfRefused as refused:
                if len(part) > 1:
                    parts += [[mac] for mac in part]
                    continue
                if part[0] in known:
                    held.kept[part[0]] = refused.what
            held.doubtful.difference_update(part)
        self._tell_rest()

    def _go_back(self, before: Sequence[bytes], primary: bytes | None) -> None:
        """Deletes what a refused change has left behind, and adds again what it has taken away."""
        held = self._held
        self._delete_but(before)
        for mac in before:
            own = mac == primary
            if mac not in held.macs or (own and held.primary != primary):
                try:
                    self._send_add([mac], mac if own else None)
                except PfRefused as refused:
                    held.missing[mac] = refused.what
        self._tell_rest()

    def _tell_rest(self) -> None:
        """Says what the PF has and nobody wants, and what it lost in a refused change."""
        for condition, of, text in (
            ("addresses kept", self._held.kept, "could not be withdrawn"),
            ("addresses missing", self._held.missing, "could not be had again"),
        ):
            each = "; ".join(f"{mac.hex(':')}: {what}" for mac, what in of.items())
            self._tell(condition, each and f"addresses {text}: {each}")
