# SPDX-License-Identifier: BSD-3-Clause
"""A run's results as text, and two runs beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from iavfio.qualify.bundle import Bundle
from iavfio.qualify.outcome import FAILED, NOT_RUN, PASSED, Outcome

MARKS = {PASSED: "passed", FAILED: "FAILED", NOT_RUN: "not run"}
ALIKE = 2.0  # figures that differ by less than this factor are alike


def line(outcome: Outcome) -> str:
    """One check on one line, with its figures or its reason."""
    figures = ", ".join(f"{name} {value:g}" for name, value in outcome.figures.items())
    text = " ".join(outcome.reason.split()) or figures
    mark = MARKS.get(outcome.status, outcome.status)
    return f"{outcome.check:15} {mark:8} {outcome.seconds:7.1f} s  {text}".rstrip()


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many ended in which way."""
    counts = {mark: sum(o.status == status for o in outcomes) for status, mark in MARKS.items()}
    return ", ".join(f"{count} {mark}" for mark, count in counts.items())


def table(bundle: Bundle) -> Iterator[str]:
    """A bundle as `iavfio qualify show` prints it."""
    source = bundle.results.get("provenance", {})
    yield f"{bundle.results.get('time')}: {', '.join(map(str, bundle.results.get('targets', [])))}"
    if isinstance(source, dict):
        yield f"{source.get('cpu')}, kernel {source.get('kernel')}, iavfio {source.get('iavfio')}"
        if source.get("software_device"):
            yield "on a software VF: no figure here is a NIC's"
    for outcome in bundle.outcomes:
        yield line(outcome)
    yield summary(bundle.outcomes)


def differences(one: Bundle, other: Bundle) -> Iterator[str]:
    """What the second bundle has other than the first; nothing where they are alike.

    Facts are compared exactly, figures by a factor of two.
    """
    ours = {outcome.check: outcome for outcome in one.outcomes}
    theirs = {outcome.check: outcome for outcome in other.outcomes}
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if name not in ours or name not in theirs:
            yield f"{name}: only in the {'first' if name in ours else 'second'} bundle"
            continue
        a, b = ours[name], theirs[name]
        if a.status != b.status:
            yield f"{name}: {_end(a)} | {_end(b)}"
        for key in sorted({*a.facts, *b.facts}):
            left, right = a.facts.get(key, "-"), b.facts.get(key, "-")
            if left != right:
                yield f"{name}: {key} {left} | {right}"
        for key in sorted({*a.figures} & {*b.figures}):
            if not _alike(a.figures[key], b.figures[key]):
                yield f"{name}: {key} {a.figures[key]:g} | {b.figures[key]:g}"


def _end(outcome: Outcome) -> str:
    return f"{outcome.status} ({outcome.reason})" if outcome.reason else outcome.status


def _alike(a: Any, b: Any) -> bool:
    low, high = sorted((abs(a), abs(b)))
    return bool(high <= ALIKE * low or high == 0)
