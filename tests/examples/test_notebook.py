# SPDX-License-Identifier: BSD-3-Clause
"""The notebook of examples/: its cells run one after the other, and it holds what they show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

PATH = Path(__file__).parents[2] / "examples" / "latency_and_rate.ipynb"
CELLS: list[dict[str, Any]] = json.loads(PATH.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
LINES = 80
RUN = """
import ast, json, sys
space = {"__name__": "__main__"}
for text in json.load(sys.stdin):
    tree = ast.parse(text)
    last = tree.body.pop()
    exec(compile(tree, "cell", "exec"), space)
    shown = eval(compile(ast.Expression(last.value), "cell", "eval"), space)
    print(json.dumps([type(shown).__name__, shown._repr_html_()]))
"""


def plots(text: str) -> int:
    """How many SVG plots a page's part has, each of which is well formed."""
    found = text.split("<svg")[1:]
    for part in found:
        ElementTree.fromstring("<svg" + part.split("</svg>")[0] + "</svg>")
    return len(found)


def test_it_fits_a_page_and_was_executed_from_top_to_bottom() -> None:
    assert sum(len(cell["source"]) for cell in CODE) < LINES
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    shown = [output for cell in CODE for output in cell["outputs"]]
    assert not [output for output in shown if output["output_type"] == "error"]
    pages = ["".join(output["data"]["text/html"]) for output in shown if "data" in output]
    assert [plots(page) for page in pages] == [0, 1, 1, 0]
    assert "/home/" not in PATH.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shown() -> list[tuple[str, str]]:
    told = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(["".join(cell["source"]) for cell in CODE]),
        capture_output=True,
        text=True,
        timeout=90,
        cwd=PATH.parents[1],
        check=False,
    )
    assert told.returncode == 0, told.stderr
    lines = [line for line in told.stdout.splitlines() if line.startswith("[")]
    return [(kind, page) for kind, page in map(json.loads, lines)]


def test_its_cells_run_and_show_plots(shown: list[tuple[str, str]]) -> None:
    assert [kind for kind, _ in shown] == ["Port", "Latency", "Bars", "Snapshot"]
    assert [plots(page) for _, page in shown] == [0, 1, 1, 0]
    assert "p99.9" in shown[1][1] and "1518 bytes" in shown[2][1]
