# SPDX-License-Identifier: BSD-3-Clause
"""Which signal is answered when, while a view owns the terminal; nobody is stopped here."""

from __future__ import annotations

import os
import signal

import pytest

from iavfio.cli.suspension import Suspension

STOP, CONTINUE = signal.SIGTSTP, signal.SIGCONT


class Shell:
    """Writes down what the view does; what is `due` comes while the view paints."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.due: list[signal.Signals] = []
        self.view = Suspension(lambda: self.seen.append("leave"), self._paint)
        monkeypatch.setattr(os, "kill", self._stop)

    def _paint(self) -> None:
        self.seen.append("paint")
        while self.due:
            signal.raise_signal(self.due.pop())
            self.seen.append("painted")

    def _stop(self, process: int, number: int) -> None:
        assert (process, number) == (os.getpid(), STOP)
        assert signal.getsignal(STOP) is signal.SIG_DFL
        self.seen.append("stop")
        signal.raise_signal(CONTINUE)  # fg: Python answers it before kill() returns


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(monkeypatch)


ROUND = ["leave", "stop", "paint"]


def test_a_stop_that_is_allowed_is_one_round(shell: Shell) -> None:
    with shell.view as view, view.allowed():
        for _ in range(3):
            signal.raise_signal(STOP)
            assert signal.getsignal(STOP) not in (signal.SIG_DFL, signal.SIG_IGN)
    assert shell.seen == ROUND * 3


def test_what_comes_elsewhere_waits(shell: Shell) -> None:
    with shell.view as view:
        signal.raise_signal(STOP)
        signal.raise_signal(CONTINUE)  # of somebody who has not seen it stop
        assert shell.seen == []
        with view.allowed():
            assert shell.seen == ROUND


def test_a_second_stop_waits_until_the_view_is_painted(shell: Shell) -> None:
    shell.due = [STOP]
    with shell.view as view, view.allowed():
        signal.raise_signal(STOP)
        assert shell.seen == [*ROUND, "painted", *ROUND]


def test_going_on_after_a_stop_that_nobody_could_answer_paints(shell: Shell) -> None:
    with shell.view as view, view.allowed():
        signal.raise_signal(CONTINUE)
    assert shell.seen == ["paint"]


def test_a_stop_at_the_end_comes_when_the_terminal_is_the_shells_again(shell: Shell) -> None:
    before = signal.getsignal(STOP)
    with shell.view:
        signal.raise_signal(STOP)
    assert shell.seen == ["stop"]
    assert signal.getsignal(STOP) == before


def test_where_stops_are_ignored_they_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(STOP, signal.SIG_IGN)
    try:
        shell = Shell(monkeypatch)
        with shell.view as view, view.allowed():
            signal.raise_signal(STOP)
            assert signal.getsignal(STOP) is signal.SIG_IGN
        assert shell.seen == []
    finally:
        signal.signal(STOP, before)
