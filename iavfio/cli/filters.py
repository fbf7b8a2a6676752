# SPDX-License-Identifier: BSD-3-Clause
"""FILTER: an expression in tcpdump's language, as the last words of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from iavfio.capture.filter import Filter

filter_argument = click.argument("expression", metavar="[FILTER]...", nargs=-1)


def compiled(words: tuple[str, ...]) -> Filter | None:
    """The filter that the words say, None without one. Raises as Filter does."""
    expression = " ".join(words).strip()
    if not expression:
        return None
    from iavfio.capture.filter import Filter

    return Filter(expression)
