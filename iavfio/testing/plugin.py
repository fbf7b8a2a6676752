# SPDX-License-Identifier: BSD-3-Clause
"""The pytest plugin: fixtures `softvf` and `vf_pair`, and the markers that set them up.

It is found by its entry point once iavfio is installed; `pytest -p iavfio.testing.plugin` names it
otherwise. Nothing of iavfio but this is imported until a test uses a fixture.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from iavfio.softvf.launch import SoftPf
    from iavfio.testing import VfPair

MARKERS = (
    "softvf(**options): what the fixture `softvf` gives to iavfio.softvf, as vfs=4",
    "vf_pair(**settings): how the fixture `vf_pair` configures both ports, as queues=4",
)
DEFAULTS: dict[str, Any] = {"vfs": 2, "uplink": "none"}
RUNNING: pytest.StashKey[SoftPf] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    for line in MARKERS:
        config.addinivalue_line("markers", line)


def _arguments(request: pytest.FixtureRequest, marker: str) -> dict[str, Any]:
    """What the markers of this name say, the one nearest to the test last."""
    given: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers(marker))):
        if mark.args:
            raise pytest.UsageError(f"the marker {marker} takes named arguments only")
        given |= mark.kwargs
    return given


@pytest.fixture
def softvf(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    """A software PF with two VFs and no wire, or as the marker `softvf` says; ends with the test.

    A test that fails shows what drivers did wrong on it.
    """
    import iavfio

    with iavfio.softvf(**DEFAULTS | _arguments(request, "softvf")) as pf:
        request.node.stash[RUNNING] = pf
        yield pf


@pytest.fixture
def vf_pair(request: pytest.FixtureRequest, softvf: SoftPf) -> Iterator[VfPair]:
    """VFs 0 and 1 of `softvf`, open and started with their links up, set as the marker says."""
    from iavfio.testing import start_pair

    pair = start_pair(softvf, **_arguments(request, "vf_pair"))
    try:
        yield pair
    finally:
        for port in pair:
            port.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    pf = item.stash.get(RUNNING, None)
    if report.when == "call" and report.failed and pf is not None and not pf.closed:
        if not pf.running:
            report.sections.append(("software VF", "its process has ended"))
        elif wrong := pf.violations():
            report.sections.append(("software VF", "\n".join(map(str, wrong))))
    return report
