# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C at each moment of a port's life at which Python answers signals: nothing stays behind."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from iavfio.datapath.pool import Pool
from iavfio.port import bounds
from iavfio.softvf import softvf
from iavfio.softvf.launch import SoftPf
from iavfio.stats.runtime import own_dir
from tests.moments import Signals
from tests.port.rig import until
from tests.sanitizer import no_race

EVERY = 41  # of the moments of a close, one is tried; a prime: not always the same of a loop
SELDOM = 401  # the same of opening, starting and resetting, which are longer
OPENED = "UserDir.open"  # what it returns is lost when a signal comes before it is stored
BEFORE = 40  # moments, in which Port.close looks at its arguments and nothing is closed yet


@pytest.fixture(scope="module")
def pf() -> Iterator[SoftPf]:
    with softvf(vfs=1) as soft:
        yield soft


def close_with(pf: SoftPf, pool: Pool, signals: Signals) -> tuple[str, str]:
    """Closes a running port; its state after that, and after one more close."""
    port = pf.open(0, pool=pool)
    port.start()
    try:
        sys.setprofile(signals)
        port.close()
    except KeyboardInterrupt:
        assert signals.places
    finally:
        sys.setprofile(None)
    at_once = port.state
    port.close()
    return at_once, port.state


def left_behind(pf: SoftPf, pool: Pool) -> tuple[int, int, int]:
    """Descriptors, threads, and buffers that are out, when the server has seen the client go."""
    assert until(lambda: not pf.control("info")["vfs"][0]["connected"], 60)
    gc.collect()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    tasks = len(list(Path("/proc/self/task").iterdir()))
    return descriptors, tasks, pool.size - pool.idle


# docs/spec/reliability.md F66
@no_race
@pytest.mark.parametrize("again", [0, 2, 150], ids=["once", "twice", "twice-later"])
def test_a_signal_at_any_moment_leaves_nothing(
    pf: SoftPf, again: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasten = bounds.Finishing.hasten

    def goes_on(finishing: bounds.Finishing, signal: KeyboardInterrupt) -> None:
        assert current is not None
        sys.setprofile(current)  # CPython drops a profile function that raises
        hasten(finishing, signal)

    current: Signals | None = None
    monkeypatch.setattr(bounds.Finishing, "hasten", goes_on)
    pool = Pool(4096, huge="never")
    close_with(pf, pool, Signals())
    before, whole = left_behind(pf, pool), Signals()
    close_with(pf, pool, whole)
    assert whole.count > 1000
    hit = 0
    for moment in range(1, whole.count, EVERY):
        current = signals = Signals(*({moment, moment + again} if again else {moment}))
        at_once, at_last = close_with(pf, pool, signals)
        hit += len(signals.places)
        assert at_last == "closed", signals.places
        if not again and moment > BEFORE:
            assert at_once == "closed", signals.places
        after = left_behind(pf, pool)
        lost = sum(OPENED in place for place in signals.places)
        assert after[0] - before[0] <= lost and after[1:] == before[1:], signals.places
        before = after
    assert hit > whole.count / EVERY * (1.4 if again else 0.7)


def life(pf: SoftPf, pool: Pool, *moments: int) -> Signals:
    """Opens, starts, resets and stops a port, then closes what there is."""
    signals, port = Signals(*moments), None
    try:
        sys.setprofile(signals)
        port = pf.open(0, pool=pool)
        port.start()
        port.reset()
        port.stop()
    except KeyboardInterrupt:
        assert signals.places
    finally:
        sys.setprofile(None)
        if port is not None:
            port.close()
    return signals


# docs/spec/reliability.md F66
@no_race
def test_a_signal_before_the_close_leaves_nothing(pf: SoftPf) -> None:
    """A descriptor that was just made is nobody's yet; few moments are such."""
    pool = Pool(4096, huge="never")
    life(pf, pool)
    before, made = left_behind(pf, pool), 0
    published = len(list(own_dir().segments()))
    moments = range(1, life(pf, pool).count, SELDOM)
    for moment in moments:
        signals = life(pf, pool, moment)
        after = left_behind(pf, pool)
        assert after[0] - before[0] <= 1 and after[1:] == before[1:], signals.places
        assert len(list(own_dir().segments())) == published, signals.places
        made += after[0] > before[0]
        before = after
    assert made <= len(moments) / 10
