# SPDX-License-Identifier: BSD-3-Clause
"""Settings in force: the difference between what is wanted and what the PF holds, both ways.

There is one row for each thing that a PF remembers of a VF. A row is applied at start, at a change
while running, and after each reset; at close the rows that outlive the VF's program are withdrawn
(docs/design.md 7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from iavfio._driver import lib
from iavfio.errors import ConfigError, NotGranted, PfRefused
from iavfio.port.addresses import Addresses
from iavfio.port.negotiation import Session
from iavfio.port.rss_rules import apply_rules, reason_of
from iavfio.port.settings import Settings
from iavfio.port.status import Tell
from iavfio.virtchnl.messages.filters import CONFIG_PROMISCUOUS_MODE
from iavfio.virtchnl.messages.rss import (
    CONFIG_RSS_HFUNC,
    CONFIG_RSS_KEY,
    CONFIG_RSS_LUT,
    GET_RSS_HASHCFG_CAPS,
    SET_RSS_HASHCFG,
    HashFunction,
)

Refusal = (PfRefused, NotGranted, ConfigError)


@dataclass(frozen=True)
class Wish:
    """What shall be in force. `mac` is the port's own address.

    `made`: whether iavfio made that address, so that traffic goes on without it. `lenient`: what
    the PF refuses is noted and not raised; after a reset traffic goes on with what the PF still
    allows (docs/spec/reliability.md F26).
    """

    settings: Settings
    mac: bytes
    made: bool
    lenient: bool

    @property
    def promiscuity(self) -> tuple[bool, bool]:
        """All unicast, all multicast. Promiscuous mode is both."""
        promiscuous = self.settings.promiscuous
        return promiscuous, promiscuous or self.settings.all_multicast


@dataclass(frozen=True)
class Row:
    """One value of PfState: what is wanted of it, and the request that makes it so.

    `wanted` returns None when the PF does not grant it. `send` is called when the PF holds another
    value. `fatal` tells whether a refusal fails the start; else `refused` is noted, unless it is
    "", until the row is as wanted. `lossy`: a PF that refuses has lost the old value as well.
    """

    field: str
    wanted: Callable[[Wish, Session], Any]
    send: Callable[[Session, Any], None]
    fatal: Callable[[Wish], bool]
    refused: Callable[[Wish], str]
    lossy: bool = False

    def apply(self, wish: Wish, session: Session, tell: Tell) -> None:
        """Makes the PF hold what is wanted. Raises as the request does where that is fatal."""
        before = getattr(session.held, self.field)
        text = ""
        try:
            wanted = self.wanted(wish, session)
            if wanted is not None and wanted != before:
                setattr(session.held, self.field, None)  # until the request is answered
                self.send(session, wanted)
                setattr(session.held, self.field, wanted)
        except Refusal as refused:
            setattr(session.held, self.field, None if self.lossy else before)
            if self.fatal(wish) and not wish.lenient:
                raise
            if text := self.refused(wish):
                text += f": {reason_of(refused)}"
        tell(self.field, text)


def _never(wish: Wish) -> bool:
    return False


def _several(wish: Wish) -> bool:
    """Whether there is more than one queue; a single one gets all, whatever the PF hashes."""
    return wish.settings.queues > 1


def _rss(wish: Wish, session: Session) -> bool:
    return session.has(lib.VC_CAP_RSS_PF)


def _rss_key(wish: Wish, session: Session) -> bytes | None:
    size = session.resources.key_size
    return wish.settings.rss.key_of(size) if _rss(wish, session) else None


def _rss_table(wish: Wish, session: Session) -> bytes | None:
    size, queues = session.resources.lut_size, wish.settings.queues
    return wish.settings.rss.table_of(size, queues) if _rss(wish, session) else None


def _hash_function(wish: Wish, session: Session) -> HashFunction | None:
    if not _rss(wish, session):
        return None
    symmetric = wish.settings.rss.symmetric
    return HashFunction.SYMMETRIC_TOEPLITZ if symmetric else HashFunction.TOEPLITZ


def _hash_fields(wish: Wish, session: Session) -> int | None:
    if not _rss(wish, session):
        return None
    held = session.held
    if held.hash_types is None:
        try:
            held.hash_types = session.client.ask(GET_RSS_HASHCFG_CAPS())
        except PfRefused as refused:
            # ice of Linux 6.1 leaves no choice, and no capability tells: it hashes all that it can.
            unserved = refused.status == lib.VC_STATUS_ERR_NOT_SUPPORTED
            if unserved and not wish.settings.rss.left_out:
                return None
            raise
    return wish.settings.rss.hashcfg & held.hash_types


def _choose_function(session: Session, function: HashFunction) -> None:
    """ice makes the packet classes anew that it hashes (docs/spec/pf-dialects.md 2)."""
    session.held.hash_fields = None
    session.client.ask(CONFIG_RSS_HFUNC(function))


def _choose_fields(session: Session, fields: int) -> None:
    """ice throws the rules away with the classes of before (docs/spec/pf-dialects.md 9).

    A PF that refuses the message may have done so, too.
    """
    session.held.doubt_rules()
    session.client.ask(SET_RSS_HASHCFG(fields))


def _vlan_stripping(wish: Wish, session: Session) -> bool | None:
    """The tag is stripped exactly when the vlan column is wanted."""
    wanted = "vlan" in wish.settings.metadata
    return wanted if wanted or session.may_strip_vlan else None


ROWS: tuple[Row, ...] = (
    Row(
        "rss_key",
        _rss_key,
        lambda session, key: session.client.ask(CONFIG_RSS_KEY(key)),
        _several,
        lambda wish: "the RSS key is not in force",
    ),
    Row(
        "rss_table",
        _rss_table,
        lambda session, table: session.client.ask(
            CONFIG_RSS_LUT(table, session.resources.queue_pairs)
        ),
        _several,
        lambda wish: "the RSS table is not in force",
    ),
    Row(
        "hash_function",
        _hash_function,
        _choose_function,
        _never,
        lambda wish: (
            "symmetric RSS is not in force"
            if wish.settings.rss.symmetric
            else "symmetric RSS could not be switched off"
        ),
    ),
    Row(
        "hash_fields",
        _hash_fields,
        _choose_fields,
        _never,
        lambda wish: "the PF keeps its own RSS hash fields",
        lossy=True,
    ),
    Row(
        "vlan_stripping",
        _vlan_stripping,
        lambda session, on: session.client.vlan_strip(on, session.vlan_caps),
        _never,
        lambda wish: (
            "VLAN stripping could not be switched on: the vlan column may stay empty"
            if "vlan" in wish.settings.metadata
            else ""  # iavfio/port/conditions.py says it, until it ends
        ),
    ),
    Row(
        "promiscuity",
        lambda wish, session: wish.promiscuity,
        lambda session, modes: session.client.ask(CONFIG_PROMISCUOUS_MODE(*modes)),
        lambda wish: any(wish.promiscuity),
        lambda wish: "promiscuous mode could not be set",
    ),
)
PROMISCUITY = ROWS[-1]


def apply(wish: Wish, session: Session, tell: Tell) -> bytes:
    """Puts everything in force; returns the port's address that then works.

    Raises PfRefused, NotGranted, MailboxError or ResetUnderWay. The record of what the PF holds is
    right then too, so that the next call sends what is missing, and withdraws what is too much.
    """
    alone = _several(wish) and not _rss(wish, session)
    tell("no RSS", "the PF does not grant RSS: all packets arrive in queue 0" if alone else "")
    for row in ROWS:
        row.apply(wish, session, tell)
    apply_rules(wish.settings.rss, session, tell, fatal=_several(wish) and not wish.lenient)
    return apply_addresses(wish, session, tell)


def apply_addresses(wish: Wish, session: Session, tell: Tell) -> bytes:
    """Makes the PF hold the own address and the further ones; returns the own one that then works.

    Raises as `apply` does.
    """
    addresses = Addresses(session.client, session.held, tell)
    return addresses.apply(wish.mac, wish.settings.extra_macs, made=wish.made, lenient=wish.lenient)


def withdraw(given: bytes | None, session: Session, tell: Tell) -> None:
    """Takes back what a PF would keep for the next user of the VF: addresses and promiscuity.

    `given` is the address that the PF had chosen, which it shall have again.
    """
    PROMISCUITY.apply(Wish(Settings(), given or bytes(6), False, True), session, tell)
    Addresses(session.client, session.held, tell).withdraw(given)
