# SPDX-License-Identifier: BSD-3-Clause
"""The most that the host lets a VF send (`ip link set PF vf N max_tx_rate`)."""

from __future__ import annotations

from iavfio.softvf.personality import Personality

UNIT = 50  # Mbit/s: what i40e's bandwidth credits count (docs/spec/pf-dialects.md 5)


def in_force(personality: Personality, asked: int) -> int:
    """The rate in Mbit/s that the card keeps for the one that was `asked`; 0: none.

    An X710's counts in units of 50 Mbit/s, rounded down, of which it has at least one.
    """
    if personality.is_ice or not asked:
        return asked
    return max(asked // UNIT, 1) * UNIT
