# SPDX-License-Identifier: BSD-3-Clause
"""A circle of locks is found although no thread ever waits in it."""

from __future__ import annotations

import os
import threading

import pytest

from tests import lock_order
from tests.lock_order import Order, watched

pytestmark = pytest.mark.skipif(
    "IAVFIO_LOCK_ORDER" in os.environ, reason="the locks of this run are watched already"
)


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> Order:
    """Locks that this file makes are watched as iavfio's are."""
    monkeypatch.setattr(lock_order, "PACKAGE", __file__.rsplit("/", 1)[0])
    return Order()


def test_two_locks_in_opposite_orders_are_a_circle(order: Order) -> None:
    with watched(order):
        first = threading.Lock()
        second = threading.RLock()
    for _ in range(2):
        with first, second:
            pass
        assert order.circle() == []
    with second, first:
        pass
    told = order.circle()
    assert len(told) == 2 and all("test_lock_order.py:" in line for line in told)
    assert order.circle() == []  # told once


def test_three_threads_may_close_a_circle(order: Order) -> None:
    with watched(order):
        locks = [threading.Lock(), threading.Lock()]
        last = threading.Condition()
    assert isinstance(last, threading.Condition)

    def take(one: object, other: object) -> None:
        with one, other:  # type: ignore[attr-defined]
            pass

    a, b = locks
    for lock in (a, b, last):
        with lock:
            pass
    # Locks of one line are of one kind: two of them together are a circle of their own.
    take(a, b)
    assert len(order.circle()) == 1
    take(a, last)
    assert order.circle() == []
    take(last, a)
    assert len(order.circle()) == 2


def test_a_lock_that_nobody_else_can_have_is_no_order(order: Order) -> None:
    """As where a port is made while another one is closed."""
    with watched(order):
        locks = [threading.Lock() for _ in range(2)]
    with locks[0]:
        assert locks[1].acquire()
    assert order.circle() == []


def test_what_cannot_wait_for_ever_is_no_order(order: Order) -> None:
    with watched(order):
        first = threading.Lock()
        second = threading.Lock()
        again = threading.RLock()
    for _ in range(2):
        with again, first, second, again, again:
            pass
    with second:
        assert first.acquire(blocking=False)
        first.release()
    assert order.circle() == []


def test_a_condition_gives_its_lock_back_while_it_waits(order: Order) -> None:
    with watched(order):
        changed = threading.Condition()
        other = threading.Lock()
    with changed, changed:
        assert not changed.wait(0.001)
        with other:
            changed.notify_all()
    assert order.circle() == []


def test_locks_of_other_packages_are_left_alone(order: Order) -> None:
    genuine = type(threading.Lock())
    lock_order.PACKAGE = "/nowhere"
    with watched(order):
        assert isinstance(threading.Lock(), genuine)
