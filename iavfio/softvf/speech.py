# SPDX-License-Identifier: BSD-3-Clause
"""What a software PF's process logs. It is imported only where somebody wants to see it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

from iavfio import logs
from iavfio.arguments import counted
from iavfio.softvf.contract import ViolationKind
from iavfio.softvf.log import Violation, name_of

LEVELS: Mapping[ViolationKind, int] = MappingProxyType(
    {"violation": logging.WARNING, "mdd": logging.ERROR, "note": logging.INFO}
)

log = logs.logger("softvf")


def tell(entry: Violation) -> None:
    """Logs what a driver did wrong, or a note."""
    log.log(LEVELS[entry.kind], "%s: %s: %s", name_of(entry.vf), entry.kind, entry.text)


def show(text: str) -> None:
    """Logs on stderr, as IAVFIO_LOG asks for. Raises ConfigError for what is no level."""
    logs.show(text, seconds=0.0)  # VFs wait meanwhile


def serving(personality: str, sockets: list[str]) -> None:
    """Logs that clients may come."""
    log.info("%s: serves %s: %s", personality, counted(len(sockets), "VF"), " ".join(sockets))


def ended(signal: int) -> None:
    """Logs the end, and the sums of what was held back."""
    log.info("ends after %s", f"signal {signal}" if signal else "it was told to")
    logs.settle(at_once=True)
