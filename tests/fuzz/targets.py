# SPDX-License-Identifier: BSD-3-Clause
"""All targets that are functions of Python, by name."""

from __future__ import annotations

from tests.fuzz import driver_targets, file_targets, peer_targets

TARGETS = {
    target.name: target
    for module in (driver_targets, file_targets, peer_targets)
    for target in module.TARGETS
}
