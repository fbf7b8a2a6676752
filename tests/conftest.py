# SPDX-License-Identifier: BSD-3-Clause
"""For all tests: Ctrl-C works in the programs that they start, and their ports have a place apart.

A test run in the background of a shell inherits SIGINT as ignored, and so would all below it.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from zlib import crc32

import pytest
from hypothesis import settings

from iavfio import logs
from iavfio.softvf import launch
from tests import journals, lock_order

# How long an example takes is the machine's to say.
settings.register_profile("iavfio", parent=settings.default, deadline=None)
settings.load_profile("iavfio")

REAL_PF = os.environ.get("IAVFIO_TEST_PF")
SHARE = os.environ.get("IAVFIO_TEST_SHARE")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def place_of_ports() -> Iterator[None]:
    """One for each file of tests: owners that were killed leave their ports where they were."""
    with tempfile.TemporaryDirectory(prefix="iavfio-tests-") as folder:
        before = os.environ.get("IAVFIO_RUNTIME_DIR")
        os.environ["IAVFIO_RUNTIME_DIR"] = folder
        yield
        if before is None:
            del os.environ["IAVFIO_RUNTIME_DIR"]
        else:
            os.environ["IAVFIO_RUNTIME_DIR"] = before


def share_of(names: Sequence[str], share: str) -> set[str]:
    """Those of share "1/2", "2/2" or the like: each name is in one, whatever else is there."""
    number, _, of = share.partition("/")
    return {name for name in names if crc32(name.encode()) % int(of) == int(number) - 1}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out, with a real PF, the tests that tests/judge/live.py names.

    With $IAVFIO_TEST_SHARE, "1/2", all but that share of the tests are left out.
    """
    if SHARE:
        kept = share_of([item.nodeid for item in items], SHARE)
        config.hook.pytest_deselected(items=[each for each in items if each.nodeid not in kept])
        items[:] = [each for each in items if each.nodeid in kept]
    if REAL_PF:
        from tests.judge import live

        live.leave_out(REAL_PF, items)


@pytest.fixture(autouse=True, scope="session")
def real_pf() -> Iterator[None]:
    """With $IAVFIO_TEST_PF a PF that Linux drives takes the software PF's place."""
    with pytest.MonkeyPatch.context() as patch:
        if REAL_PF:
            from tests.judge import live

            patch.setattr(launch, "begin", live.begin(REAL_PF, launch.begin))
            patch.setattr(launch, "SoftPf", live.LivePf)
        yield


@pytest.fixture(autouse=True, scope="session")
def conversations() -> Iterator[None]:
    """With $IAVFIO_TEST_JOURNALS a software PF that ends leaves there what was said to it."""
    with pytest.MonkeyPatch.context() as patch:
        if journals.DIRECTORY:
            journals.watch(patch, journals.DIRECTORY)
        yield


@pytest.fixture(autouse=True)
def quiet_logs() -> None:
    """Lines like those of the test before are no flood."""
    logs.settle(at_once=True)


LOCKS = lock_order.Order() if os.environ.get("IAVFIO_LOCK_ORDER") else None


@pytest.fixture(autouse=True, scope="session")
def locks_in_order() -> Iterator[None]:
    """With $IAVFIO_LOCK_ORDER the order of iavfio's locks is watched (tests/lock_order.py)."""
    if LOCKS is None:
        yield
        return
    with lock_order.watched(LOCKS):
        yield


@pytest.fixture(autouse=True)
def no_circle_of_locks() -> Iterator[None]:
    """A test that closes a circle of locks fails, although nothing waited in it."""
    yield
    if LOCKS is not None:
        assert LOCKS.circle() == []
