# SPDX-License-Identifier: BSD-3-Clause
"""Waits for dask: one that ends without an answer is made again."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

if importlib.util.find_spec("distributed") is None:
    pytest.skip("dask is not installed: make test-fleet installs it", allow_module_level=True)


class _Future:
    """A future whose waits end with these errors before it has its value."""

    def __init__(self, *errors: type[Exception]) -> None:
        self._errors = list(errors)

    def done(self) -> bool:
        return not self._errors

    def result(self, timeout: float) -> int:
        assert timeout > 0
        if self._errors:
            raise self._errors.pop(0)
        return 7


class _Remote:
    looks = 0

    def check(self) -> None:
        self.looks += 1


@pytest.mark.parametrize("error", [TimeoutError, UnboundLocalError])
def test_a_wait_that_dask_lost_is_made_again(error: type[Exception]) -> None:
    """distributed's sync() returns a variable that it never set when its wait is cancelled."""
    from iavfio.fleet.dask_engine import Pending

    remote: Any = _Remote()
    pending = Pending(remote, _Future(error, error))
    assert pending.ready(5)
    assert pending.result() == 7
    assert remote.looks == 2
