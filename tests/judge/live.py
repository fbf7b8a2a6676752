# SPDX-License-Identifier: BSD-3-Clause
"""Runs tests that start a software PF on Linux's own instead: $IAVFIO_TEST_PF=linux-i40e or -ice.

A test that asks for another card, for an option or a fault that only the software PF has, is
skipped with that reason; all others must pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from iavfio.errors import ConfigError
from iavfio.softvf import launch, linux_pf

UNSYMMETRIC = "on ice classes that are chosen lose their symmetry (docs/spec/pf-dialects.md 9)"
NO_CHOICE = "ice of 6.1 lets no VF choose packet classes or a hash function (pf-dialects.md 2)"
CHOOSE_CLASSES = (
    "test_the_symmetric_function_leaves_the_packet_classes",
    "port/test_tunnels.py::test_rules_come_and_go_with_the_settings",
)
SYMMETRIC_CLASSES = MappingProxyType(dict.fromkeys(CHOOSE_CLASSES, UNSYMMETRIC))
# Tests, by a part of their id, that say nothing of a PF that plays this card, or of this PF.
UNLIKE: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "x710": {
            "test_a_wrong_setting_is_refused": "it states the limits of an E810",
            "test_a_wrong_call_is_refused": "it states the limits of an E810",
            "test_the_pf_s_limit_of_queues_is_told": "it states the limits of an E810",
            "test_a_port_starts_with_the_mtu": "it states the limits of an E810",
            "test_a_pf_that_allows_no_frame": "it states the limits of an E810",
            "test_the_64th_address_of_a_trusted_vf": "i40e has room for hundreds of a trusted VF",
            "test_legacy_descriptors_have_number_1": "an X710 has no flexible descriptors",
            "test_another_descriptor_format_is_compared": "it starts with an E810's format",
            "test_a_reset_an_outage_and_the_end_of_the_pf_are_logged": "it states an E810's speed",
            "test_spurious_and_missed_interrupts": "i40e resets a VF whose link is allowed later",
            "test_a_full_ring_and_an_empty_pool": "i40e stops the queues of a VF without link",
            "test_the_room_for_addresses_is_the_same": "i40e has room for hundreds of a trusted VF",
            "test_a_pair_is_made_anew": "an X710 has one descriptor format",
            "port/test_tunnels.py::test_a_": "i40e grants no rules for RSS",
            "port/test_tunnels.py::test_all_rules": "i40e grants no rules for RSS",
            "port/test_tunnels.py::test_rules_come": "i40e grants no rules for RSS",
            "port/test_tunnels.py::test_the_note": "i40e grants no rules for RSS",
            "port/test_tunnels.py::test_tunnels_that": "i40e grants no rules for RSS",
            "[e810-rss": "i40e grants neither rules for RSS nor hash functions",
        },
        "e810": {
            "test_the_room_for_addresses_is_the_same": "ice sets a VF that is trusted no limit",
            "test_the_64th_address_of_a_trusted_vf": "ice sets a VF that is trusted no limit",
        },
        "linux-ice": SYMMETRIC_CLASSES,
        "linux-ice-6.12": SYMMETRIC_CLASSES,
        "linux-ice-newest": SYMMETRIC_CLASSES,
        "linux-ice-6.1": MappingProxyType(dict.fromkeys(CHOOSE_CLASSES, NO_CHOICE)),
    }
)


class LivePf(launch.SoftPf):
    """A PF that skips the test which asks it for what only the software PF can do."""

    def control(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Asks as SoftPf.control does; skips the test where Linux's PF has no such command."""
        try:
            return super().control(command, **arguments)
        except ConfigError as error:
            refused = "for Linux's own PF driver" in str(error) or (
                command == "fault" and '"kind" must be one of' in str(error)
            )
            if refused:
                pytest.skip(f"only a software PF has {command} {arguments}")
            raise


def leave_out(name: str, items: list[pytest.Item]) -> None:
    """Skips what says nothing of the PF `name`."""
    unlike = {**UNLIKE[linux_pf.personality(name)], **UNLIKE.get(name, {})}
    for item in items:
        for part, reason in unlike.items():
            if part in item.nodeid:
                item.add_marker(pytest.mark.skip(reason=reason))


def begin(name: str, genuine: Any) -> Any:
    """A function in the place of launch.begin that starts the PF `name`."""

    card = linux_pf.personality(name)

    def started(
        vfs: int = 1,
        personality: str = "e810",
        uplink: str = "loopback",
        writeback: Any = "hardware",
        doorbells: Any = "shared",
        options: Mapping[str, Any] | None = None,
        verbose: bool = False,
        pf: str = "software",
    ) -> Any:
        if personality not in (card, "e810"):
            pytest.skip(f"Linux's PF drives no {personality} here")
        try:
            linux_pf.check_options(name, options or {})
        except ConfigError as error:
            pytest.skip(str(error).replace("\n", " "))
        return genuine(vfs, card, uplink, writeback, doorbells, options, verbose, name)

    return started
