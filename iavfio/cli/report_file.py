# SPDX-License-Identifier: BSD-3-Clause
"""Files that a command writes beside what it prints, at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from iavfio.cli.printing import note
from iavfio.errors import ConfigError


def check(path: str | None, option: str) -> None:
    """Makes the file of an option, or leaves what it has, before anything is measured.

    Raises ConfigError when it cannot be written.
    """
    if path is None:
        return
    try:
        Path(path).open("a").close()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written", str(error.strerror), f"choose another {option} FILE"
        ) from error


def write(path: str | None, option: str, text: Callable[[], str]) -> bool:
    """Writes the file; returns False, and says why, when it does not take what `text` returns."""
    if path is None:
        return True
    try:
        Path(path).write_text(text(), encoding="utf-8")
    except OSError as error:
        note(
            f"iavfio: {path} is not written whole: {error.strerror}\n  choose another {option} FILE"
        )
        return False
    return True
