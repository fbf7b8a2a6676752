# SPDX-License-Identifier: BSD-3-Clause
"""Two bundles beside each other: what differs, on which side, and what that means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from iavfio.qualify.bundle import Bundle
from iavfio.qualify.outcome import Outcome
from iavfio.qualify.report import headline

ALIKE = 2.0  # figures that differ by no more than this factor are alike
Kind = Literal["end", "fact", "figure", "only"]
MEANING: Mapping[Kind, str] = MappingProxyType(
    {
        "end": "A check that ended in another way: its reason stands in brackets; a check that was "
        "not run says what would make it possible.",
        "fact": "A fact is the same on every card of a kind: where it differs, the cards, their PF "
        "drivers or firmware do not behave alike. Between a card and a software VF it is a defect "
        "of the software VF: please report it with the bundle of the card.",
        "figure": f"A figure was measured and differs by more than a factor of {ALIKE:g}: that may "
        "be the host or its load; a software VF's figures are no NIC's.",
        "only": "A check or a figure that is in one bundle only: the other run left it out, or "
        "another version of iavfio made that bundle.",
    }
)
SAME = (
    f"no difference: all checks ended alike, with the same facts, and figures within a factor of "
    f"{ALIKE:g}"
)


@dataclass(frozen=True)
class Difference:
    """One thing that is not alike. `text` calls the bundles A and B.

    `name` is that of the fact or figure, "" for the check itself; `a` and `b` are the values of
    both sides, of a check its status, None where a side has none.
    """

    kind: Kind
    text: str
    check: str
    name: str = ""
    a: Any = None
    b: Any = None


def differences(a: Bundle, b: Bundle) -> list[Difference]:
    """What B has other than A; empty where they are alike.

    Facts are compared exactly, figures by a factor of two.
    """
    ours = {outcome.check: outcome for outcome in a.outcomes}
    theirs = {outcome.check: outcome for outcome in b.outcomes}
    found: list[Difference] = []
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if name not in ours or name not in theirs:
            side = "A" if name in ours else "B"
            ends = [here[name].status if name in here else None for here in (ours, theirs)]
            found.append(Difference("only", f"{name}: was tried in {side} only", name, "", *ends))
        else:
            found += _of_check(name, ours[name], theirs[name])
    return found


def comparison(a: Bundle, b: Bundle, names: tuple[str, str]) -> Iterator[str]:
    """Yields the lines that `iavfio qualify diff` prints; `names` are the bundles' files."""
    for side, name, bundle in (("A", names[0], a), ("B", names[1], b)):
        yield f"{side} is {name}, {headline(bundle)}"
    found = differences(a, b)
    if not found:
        yield SAME
        return
    for difference in found:
        yield difference.text
    yield f"{len(found)} difference{'s' * (len(found) > 1)}."
    kinds = {difference.kind for difference in found}
    yield from (text for kind, text in MEANING.items() if kind in kinds)


def _of_check(name: str, a: Outcome, b: Outcome) -> Iterator[Difference]:
    if a.status != b.status:
        text = f"{name}: {_end(a)} in A, {_end(b)} in B"
        yield Difference("end", text, name, "", a.status, b.status)
        return  # a check that did not pass has not seen everything
    for key in sorted({*a.facts, *b.facts}):
        left, right = _fact(a, key), _fact(b, key)
        if left != right:
            text = f"{name}: {key} is {left} in A and {right} in B"
            yield Difference("fact", text, name, key, a.facts.get(key), b.facts.get(key))
    for key in sorted({*a.figures, *b.figures}):
        left, right = a.figures.get(key), b.figures.get(key)
        if left is None or right is None:
            text = f"{name}: {key} was measured in {'B' if left is None else 'A'} only"
            yield Difference("only", text, name, key, left, right)
        elif not _alike(left, right):
            text = f"{name}: {key} is {left:g} in A and {right:g} in B"
            yield Difference("figure", text, name, key, left, right)


def _end(outcome: Outcome) -> str:
    return f"{outcome.status} ({outcome.reason})" if outcome.reason else outcome.status


def _fact(outcome: Outcome, key: str) -> Any:
    return outcome.facts.get(key, "not known")


def _alike(a: Any, b: Any) -> bool:
    low, high = sorted((abs(a), abs(b)))
    if a * b < 0:
        return False
    return bool(high <= ALIKE * low or high == 0)
