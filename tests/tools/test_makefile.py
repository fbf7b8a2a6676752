# SPDX-License-Identifier: BSD-3-Clause
"""Targets of the Makefile: one that is declared phony and has no rule does nothing, in silence."""

from __future__ import annotations

import re
from pathlib import Path

MAKEFILE = (Path(__file__).parents[2] / "Makefile").read_text()
RULE = re.compile(r"^([a-z0-9][a-z0-9 -]*):(?!=)", re.MULTILINE)


def test_every_phony_target_has_a_rule_and_every_rule_with_help_is_phony() -> None:
    rules = {name for names in RULE.findall(MAKEFILE) for name in names.split()}
    phony = {
        name for line in re.findall(r"^\.PHONY: (.*)", MAKEFILE, re.M) for name in line.split()
    }
    helped = set(re.findall(r"^([a-z0-9-]+):.*##", MAKEFILE, re.M))
    assert len(phony) > 30
    assert phony - rules == set()
    assert helped - phony == set()
