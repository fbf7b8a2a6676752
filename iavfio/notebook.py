# SPDX-License-Identifier: BSD-3-Clause
"""What notebooks and reports show: small tables in HTML, and plots in SVG, without any package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT = 720, 26, 90, 130  # of a plot, a bar, and the text at both sides


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


@dataclass(frozen=True)
class Bars:
    """A plot of bars on a scale that begins at 0: of each its name, its length and its text.

    A notebook shows it; `svg` is the plot for a page.
    """

    label: str
    bars: Sequence[tuple[str, float, str]]
    colour: str = "#2a6f97"

    @property
    def svg(self) -> str:
        """The plot as an element of a page."""
        most = max((length for _, length, _ in self.bars), default=0.0) or 1.0
        height = HEIGHT * len(self.bars) + 10
        label = escape(self.label, quote=True)
        parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">']
        for row, (name, value, text) in enumerate(self.bars):
            y, length = HEIGHT * row + 5, (WIDTH - LEFT - RIGHT) * value / most
            parts.append(
                f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
                f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{HEIGHT - 8}" '
                f'fill="{escape(self.colour, quote=True)}"/>'
                f'<text x="{LEFT + length + 6:.1f}" y="{y + 14}">{escape(text)}</text>'
            )
        return "".join([*parts, "</svg>"])

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.label)}</p>{self.svg}"
