# SPDX-License-Identifier: BSD-3-Clause
"""Tests with a judge skip where none is built; $IAVFIO_JUDGE_REQUIRED makes that a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iavfio.linuxpf.build import I40E, ICE, JUDGES, load
from iavfio.linuxpf.cache import Unavailable
from iavfio.linuxpf.process import JudgeProcess
from iavfio.softvf import linux_pf

LIVE = [f"linux-{judge.name}" for judge in JUDGES]  # what `iavfio softvf --pf` takes
I40E_KERNELS = [judge.kernel for judge in JUDGES if judge.driver.name == I40E.name]


ICE_KERNELS = [judge.kernel for judge in JUDGES if judge.driver.name == ICE.name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A judge hears thousands of messages in one test."""
    for item in items:
        if "judge" in item.path.parts and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(600))


def kernel_of(driver: str, version: str) -> Path:
    """The judge's file; skips the test when it is not built."""
    (judge,) = (each for each in JUDGES if (each.driver.name, each.kernel) == (driver, version))
    try:
        return load(judge)
    except Unavailable as error:
        if os.environ.get("IAVFIO_JUDGE_REQUIRED"):
            pytest.fail(str(error))
        pytest.skip(str(error))


def live_pf(name: str) -> dict[str, Any]:
    """Settings of a software VF whose PF is Linux's; skips the test when that is not built."""
    driver, version = name.removeprefix("linux-").split("-")
    kernel_of(driver, version)
    return {"pf": name, "personality": linux_pf.personality(name)}


@pytest.fixture(scope="module", params=I40E_KERNELS)
def i40e(request: pytest.FixtureRequest) -> Iterator[tuple[str, JudgeProcess]]:
    """The version of a kernel, and its i40e driver at work."""
    with JudgeProcess(kernel_of("i40e", request.param)) as process:
        yield request.param, process
