# SPDX-License-Identifier: BSD-3-Clause
"""What `iavfio qualify`, `qualify show` and `qualify diff` print with --json, as types.

A field that is added keeps the version; one that goes or changes its meaning gets a new one.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from iavfio.qualify.bundle import FORMAT, Bundle
from iavfio.qualify.comparison import Kind, differences


class CheckRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one check ended."""

    check: str
    status: Annotated[str, Meta(description='"passed", "failed" or "not run"')]
    reason: Annotated[str, Meta(description='why it failed or was not run; "": it passed')]
    seconds: float
    facts: Annotated[dict[str, Any], Meta(description="the same on every card of a kind")]
    figures: Annotated[dict[str, float], Meta(description="measured; a name ends in its unit")]
    trace: Annotated[str, Meta(description='of an error of the check\'s own; "": none')]


class ResultsRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.qualify.results/1",
):
    """A run: `iavfio qualify --json` and `iavfio qualify show --json`."""

    bundle: Annotated[str, Meta(description="path of the file")]
    format: Annotated[int, Meta(description="of qualify.json in the bundle")]
    time: Annotated[str, Meta(description='when it was made; "": not told')]
    seconds: Annotated[float | None, Meta(description="of the whole run; null: not told")]
    targets: Annotated[list[str], Meta(description="the VFs as they were named")]
    provenance: Annotated[dict[str, Any], Meta(description="host, versions and devices")]
    host: Annotated[dict[str, Any], Meta(description="what doctor finds there")]
    devices: Annotated[dict[str, Any], Meta(description="facts of each VF, by target")]
    checks: list[CheckRecord]


class SideRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of two bundles."""

    bundle: Annotated[str, Meta(description="path of the file")]
    time: Annotated[str, Meta(description='when it was made; "": not told')]
    targets: Annotated[list[str], Meta(description="the VFs as they were named")]


class DifferenceRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that is not alike."""

    kind: Annotated[
        Kind,
        Meta(
            description="end: a check ended in another way; fact; figure: differs by more than a "
            "factor of two; only: in one bundle only"
        ),
    ]
    check: str
    name: Annotated[str, Meta(description='of the fact or figure; "": the check itself')]
    a: Annotated[Any, Meta(description="the first bundle's value, or status; null: it has none")]
    b: Annotated[Any, Meta(description="the second bundle's")]
    text: Annotated[str, Meta(description="the same in words")]


class ComparisonRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.qualify.comparison/1",
):
    """Two bundles: `iavfio qualify diff --json`."""

    a: SideRecord
    b: SideRecord
    differences: Annotated[list[DifferenceRecord], Meta(description="empty: they are alike")]


def results_of(bundle: Bundle, path: str) -> ResultsRecord:
    """The record of a bundle in the file `path`."""
    told = bundle.results
    source, seconds = told.get("provenance"), told.get("seconds")
    return ResultsRecord(
        bundle=path,
        format=FORMAT,
        time=told.get("time", ""),
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        targets=told.get("targets", []),
        provenance=source if isinstance(source, dict) else {},
        host=told["host"],
        devices=told["devices"],
        checks=[CheckRecord(**outcome.as_dict()) for outcome in bundle.outcomes],
    )


def comparison_of(a: Bundle, b: Bundle, paths: tuple[str, str]) -> ComparisonRecord:
    """The record of a comparison of the bundles in two files."""
    return ComparisonRecord(
        a=_side(a, paths[0]),
        b=_side(b, paths[1]),
        differences=[
            DifferenceRecord(
                kind=found.kind,
                check=found.check,
                name=found.name,
                a=found.a,
                b=found.b,
                text=found.text,
            )
            for found in differences(a, b)
        ],
    )


def _side(bundle: Bundle, path: str) -> SideRecord:
    told = bundle.results
    return SideRecord(bundle=path, time=told.get("time", ""), targets=told.get("targets", []))
