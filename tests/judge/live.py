# SPDX-License-Identifier: BSD-3-Clause
"""Runs tests that start a software PF on Linux's own instead: $IAVFIO_TEST_PF=linux-i40e.

A test that asks for another card, for an option or a fault that only the software PF has, is
skipped with that reason; all others must pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from iavfio.errors import ConfigError
from iavfio.softvf import launch
from iavfio.softvf.linux_pf import check_options

CARD = "x710"


class LivePf(launch.SoftPf):
    """A PF that skips the test which asks it for what only the software PF can do."""

    def control(self, command: str, **arguments: Any) -> dict[str, Any]:
        """As SoftPf.control."""
        try:
            return super().control(command, **arguments)
        except ConfigError as error:
            refused = "for Linux's own PF driver" in str(error) or (
                command == "fault" and '"kind" must be one of' in str(error)
            )
            if refused:
                pytest.skip(f"only a software PF has {command} {arguments}")
            raise


def begin(name: str, genuine: Any) -> Any:
    """A function in the place of launch.begin that starts the PF `name`."""

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
        if personality not in (CARD, "e810"):
            pytest.skip(f"Linux's PF drives no {personality} here")
        try:
            check_options(options or {})
        except ConfigError as error:
            pytest.skip(str(error).replace("\n", " "))
        return genuine(vfs, CARD, uplink, writeback, doorbells, options, verbose, name)

    return started
