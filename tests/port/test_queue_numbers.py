# SPDX-License-Identifier: BSD-3-Clause
"""`port.rx` and `port.tx` are tuples, and a number that no queue has is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

import iavfio
from iavfio.errors import IavfioError, NoSuchQueue
from iavfio.port.port import Port


@pytest.fixture(scope="module")
def port() -> Iterator[Port]:
    with iavfio.softvf(vfs=1) as pf, pf.open(0) as port:
        port.configure(queues=3)
        yield port


@pytest.mark.parametrize("side", ["rx", "tx"])
def test_they_are_tuples(port: Port, side: str) -> None:
    queues, wrong = getattr(port, side), cast("Any", "0")
    assert isinstance(queues, tuple) and len(queues) == 3
    assert [queue.index for queue in queues] == [0, 1, 2]
    assert queues[-1].index == queues[2].index == 2
    assert [queue.index for queue in queues[1:]] == [1, 2]
    assert queues[5:] == ()
    assert queues[0] in queues and queues.index(queues[1]) == 1
    with pytest.raises(TypeError):
        queues[wrong]


@pytest.mark.parametrize("number", [3, 7, -4, 1 << 40])
@pytest.mark.parametrize(("side", "word"), [("rx", "receive"), ("tx", "send")])
def test_a_number_that_no_queue_has(port: Port, side: str, word: str, number: int) -> None:
    with pytest.raises(IndexError) as caught:
        getattr(port, side)[number]
    error = caught.value
    assert isinstance(error, NoSuchQueue) and isinstance(error, IavfioError)
    assert error.what == f"{port.name} has no {word} queue {number}"
    assert error.cause == f"it has 3 {word} queues, number 0 to 2"
    assert "configure(queues=" in error.remedy


def test_one_queue_is_said_to_be_one() -> None:
    with iavfio.softvf(vfs=1) as pf, pf.open(0) as port, pytest.raises(NoSuchQueue) as caught:
        port.rx[1]
    assert caught.value.cause == "it has 1 receive queue, number 0"
