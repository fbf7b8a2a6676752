# SPDX-License-Identifier: BSD-3-Clause
"""The site that `make docs` builds: these pages, and a page for each public module's docstrings."""

from __future__ import annotations

import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"

project = "iavfio"
author = "the iavfio authors"
project_copyright = "the iavfio authors, BSD-3-Clause"
release = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"]
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["journals"]
html_theme = "furo"
html_title = f"iavfio {release}"
templates_path = ["_templates"]

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
default_role = "literal"  # docstrings mark code by single backticks, as Markdown does
