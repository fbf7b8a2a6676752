# SPDX-License-Identifier: BSD-3-Clause
"""Every fuzz target takes its seeds, all former findings, and some inputs made from them.

`make fuzz` goes on from there (docs/guides/fuzzing.md).
"""

from __future__ import annotations

import os
from itertools import islice

import pytest

from tests.fuzz.mutation import mutations
from tests.fuzz.target import CORPUS
from tests.fuzz.targets import HARNESSES, TARGETS

EXAMPLES = int(os.environ.get("IAVFIO_FUZZ_EXAMPLES", "60"))


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    target = TARGETS[name]
    inputs = target.inputs()
    assert len(inputs) >= 2
    for data in islice(mutations(inputs, seed=1), len(inputs) + EXAMPLES):
        try:
            target.feed(data)
        except BaseException as error:
            error.add_note(f"input of {name}: {data[:200].hex()}")
            raise


def test_mutations_are_the_same_for_the_same_seed_and_reach_far() -> None:
    inputs = [b"first", b"second input"]
    made = [list(islice(mutations(inputs, seed), 500)) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    assert made[0][:2] == inputs
    assert len(set(made[0])) > 400


def test_kept_inputs_belong_to_targets_and_are_small() -> None:
    for folder in CORPUS.iterdir() if CORPUS.exists() else ():
        assert folder.name in (*TARGETS, *HARNESSES), folder
        for path in folder.iterdir():
            assert path.stat().st_size <= 4096, path
