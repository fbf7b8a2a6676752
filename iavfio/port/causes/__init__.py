# SPDX-License-Identifier: BSD-3-Clause
"""Causes for which a port's packets vanish: a check each, which looks at facts alone."""

from iavfio.port.causes import filters, receiving, sending, spreading, state
from iavfio.port.facts import Check

FATAL: tuple[Check, ...] = (state.lost, state.not_running)
"""Of a port that does not run: nothing else could be seen."""

FIRST: tuple[Check, ...] = (sending.stands_still, state.pf_closes)
"""What may be the reason why it does not run."""

CHECKS: tuple[Check, ...] = (
    state.link,
    state.pf_silent,
    filters.own_address,
    sending.nothing_passes,
    sending.discards,
    filters.untrusted,
    receiving.stray_format,
    receiving.pool_empty,
    receiving.ring_full,
    receiving.oversize,
    spreading.spread,
    filters.vlans,
    filters.further_addresses,
    filters.no_unicast,
    filters.no_multicast,
    sending.refused,
    receiving.malformed,
)

STANDING: tuple[Check, ...] = (sending.discards, receiving.pool_empty, receiving.malformed)
"""The checks that a port makes itself, once a second, on what its counters moved by."""
