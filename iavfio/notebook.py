# SPDX-License-Identifier: BSD-3-Clause
"""What notebooks show of objects: small tables in HTML, without any package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def table(title: str, rows: Iterable[Sequence[object]], heads: Sequence[str] = ()) -> str:
    """A table with a title; the first cell of each row is its heading. Everything is escaped."""
    parts = [f"<table><caption>{escape(title)}</caption>"]
    if heads:
        parts.append("<thead><tr>" + "".join(f"<th>{escape(h)}</th>" for h in heads))
        parts.append("</tr></thead>")
    parts.append("<tbody>")
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in rest)
        parts.append(f"<tr><th>{escape(str(first))}</th>{cells}</tr>")
    parts.append("</tbody></table>")
    return "".join(parts)
