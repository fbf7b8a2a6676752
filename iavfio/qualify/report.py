# SPDX-License-Identifier: BSD-3-Clause
"""A run's results as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from iavfio.qualify.bundle import Bundle
from iavfio.qualify.outcome import FAILED, NOT_RUN, PASSED, Outcome

MARKS = {PASSED: "passed", FAILED: "FAILED", NOT_RUN: "not run"}


def line(outcome: Outcome) -> str:
    """Returns one check as one line, with its figures or its reason."""
    figures = ", ".join(f"{name} {value:g}" for name, value in outcome.figures.items())
    text = "; ".join(filter(None, (" ".join(outcome.reason.split()), figures)))
    mark = MARKS.get(outcome.status, outcome.status)
    return f"{outcome.check:15} {mark:8} {outcome.seconds:7.1f} s  {text}".rstrip()


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many ended in which way, and which were not run: their lines say why."""
    counts = {mark: sum(o.status == status for o in outcomes) for status, mark in MARKS.items()}
    text = ", ".join(f"{count} {mark}" for mark, count in counts.items())
    skipped = [outcome.check for outcome in outcomes if outcome.status == NOT_RUN]
    return f"{text} ({', '.join(skipped)})" if skipped else text


def headline(bundle: Bundle) -> str:
    """Says when a bundle was made, and of which VFs."""
    return f"{bundle.results.get('time')}: {', '.join(map(str, bundle.results.get('targets', [])))}"


def table(bundle: Bundle) -> Iterator[str]:
    """A bundle as `iavfio qualify show` prints it."""
    source = bundle.results.get("provenance", {})
    yield headline(bundle)
    if isinstance(source, dict):
        yield f"{source.get('cpu')}, kernel {source.get('kernel')}, iavfio {source.get('iavfio')}"
        if source.get("software_device"):
            yield "on a software VF: no figure here is a NIC's"
    for outcome in bundle.outcomes:
        yield line(outcome)
    yield summary(bundle.outcomes)
