# SPDX-License-Identifier: BSD-3-Clause
"""The Grafana dashboard asks for metrics and labels that the exporter has, and for no others."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.live.segments import add, running

pytest.importorskip("prometheus_client")

from iavfio.metrics.server import registry

FILE = Path(__file__).parents[2] / "packaging/grafana/iavfio.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
METRIC = re.compile(r"\biavfio_\w+\b")
PLACES = ("x", "y", "w", "h")


def queries() -> list[str]:
    """Every expression, and the legends that name labels."""
    asked = [each["query"]["query"] for each in DASHBOARD["templating"]["list"][1:]]
    return asked + [target["expr"] for panel in PANELS for target in panel["targets"]]


@pytest.fixture
def samples() -> dict[str, set[str]]:
    """Labels of each sample that a port has which did everything."""
    segment = running("p0")
    segment.set_global(range(12))
    add(segment, "rq", 0, packets=1)
    found: dict[str, set[str]] = {}
    for family in registry().collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    segment.close()
    return found


def test_every_metric_and_label_exists(samples: dict[str, set[str]]) -> None:
    asked = {name for query in queries() for name in METRIC.findall(query)}
    assert len(asked) >= 15
    assert asked <= set(samples)
    for panel in PANELS:
        for target in panel["targets"]:
            names = METRIC.findall(target["expr"])
            common = set.intersection(*(samples[name] for name in names))
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            grouped = re.findall(r"(?:by|on) \(([\w, ]+)\)", target["expr"])
            used = {label for group in grouped for label in group.split(", ")}
            joined = "/ on " in target["expr"]
            assert shown | (set() if joined else used) <= common, target["expr"]
            assert not grouped or shown <= set(grouped[0].split(", ")), target["expr"]


def test_counters_are_asked_for_as_rates() -> None:
    for query in queries():
        for name in METRIC.findall(query):
            if name.endswith("_total"):
                assert re.search(rf"(?:rate|increase)\({name}{{", query), query


def test_parentheses_and_braces_match() -> None:
    for query in queries():
        for pair in ("()", "{}", "[]"):
            assert query.count(pair[0]) == query.count(pair[1]), query


def test_panels_have_numbers_words_and_places_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS) == 12
    for panel in PANELS:
        assert panel["title"] and panel["description"].endswith(".")
        x, _, w, _ = (panel["gridPos"][name] for name in PLACES)
        assert x >= 0 and x + w <= 24
    for one, other in combinations(PANELS, 2):
        (ax, ay, aw, ah), (bx, by, bw, bh) = (
            tuple(panel["gridPos"][name] for name in PLACES) for panel in (one, other)
        )
        apart = ax + aw <= bx or bx + bw <= ax or ay + ah <= by or by + bh <= ay
        assert apart, (one["title"], other["title"])


def test_the_data_source_is_chosen_by_the_user() -> None:
    assert DASHBOARD["templating"]["list"][0]["type"] == "datasource"
    sources = [panel["datasource"] for panel in PANELS]
    sources += [target["datasource"] for panel in PANELS for target in panel["targets"]]
    assert {source["uid"] for source in sources} == {"${source}"}
