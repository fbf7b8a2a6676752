# SPDX-License-Identifier: BSD-3-Clause
"""Lines on a stream that nobody reads: dropped, counted, and nobody waits."""

from __future__ import annotations

import logging
import os
import pty
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import iavfio
from iavfio import outlet
from iavfio.outlet import AT_ONCE, Handler, Outlet
from iavfio.softvf.log import ViolationLog
from tests.cli.streams import PAGE, Pipe

HANG = 30  # seconds


def ends(work: Callable[[], object]) -> bool:
    """Whether some work is done, and not still inside of a write after a long time."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(HANG)
    return not thread.is_alive()


def each(out: Outlet, lines: Iterable[str]) -> None:
    for line in lines:
        out.write(line)


def test_what_a_full_pipe_does_not_take_is_counted_and_told_later() -> None:
    with Pipe() as pipe:
        out = Outlet(pipe.write_end)
        out.write("before")
        pipe.fill()
        assert ends(lambda: each(out, [f"lost {number}" for number in range(3)]))
        assert out.dropped == 3
        pipe.take()
        pipe.text = ""
        out.write("after")
        out.write("and on")
        assert pipe.take().splitlines() == [
            "iavfio: 3 lines are missing here: nobody read stderr", "after", "and on",
        ]  # fmt: skip
        assert out.dropped == 3


def test_the_flags_of_a_file_that_others_have_open_stay_as_they_are() -> None:
    with Pipe() as pipe:
        pipe.fill()
        Outlet(pipe.write_end).write("lost")
        assert os.get_blocking(pipe.write_end)


def test_a_line_that_is_longer_than_a_pipe_is_cut_and_its_end_comes_first_afterwards() -> None:
    with Pipe() as pipe:
        out, line = Outlet(pipe.write_end), "x" * (4 * PAGE + 100)
        assert ends(lambda: out.write(line))
        assert out.dropped == 0
        out.write("lost")
        assert out.dropped == 1
        pipe.take()
        out.write("next")
        end = "iavfio: 1 lines are missing here: nobody read stderr\nnext\n"
        assert pipe.take() == f"{line}\n{end}"


def test_a_pipe_that_cannot_be_opened_anew_is_asked_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As that of another user: it takes a piece whole, or is not written to."""
    monkeypatch.setattr(outlet, "WAITING", ())
    with Pipe() as pipe:
        out = Outlet(pipe.write_end)
        pipe.fill()
        assert ends(lambda: out.write("x" * AT_ONCE))
        assert out.dropped == 1


def test_a_terminal_that_stands_still_costs_lines_alone() -> None:
    master, slave = pty.openpty()
    try:
        out = Outlet(slave)
        assert ends(lambda: each(out, ["x" * 100] * 10_000))
        assert out.dropped > 0
    finally:
        os.close(slave)
        os.close(master)


def test_a_closed_stream_costs_lines_alone() -> None:
    read, write = os.pipe()
    os.close(read)
    out = Outlet(write)
    out.write("nobody")
    os.close(write)
    out.write("nowhere")
    assert out.dropped == 2


def test_only_the_first_line_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(outlet, "_takes", lambda _, seconds: asked.append(seconds))
    with Pipe() as pipe:
        out = Outlet(pipe.write_end, seconds=60.0)
        out.write("first")
        out.write("second")
    assert asked[0] > 1.0
    assert asked[1:] == [0.0]


def test_a_record_goes_where_the_outlet_leads() -> None:
    with Pipe() as pipe:
        logger = logging.Logger("of this test")
        logger.addHandler(Handler(Outlet(pipe.write_end)))
        logger.error("%s %d", "number", 7)
        logger.error("%d", "no number")
        assert pipe.take() == "number 7\n"


# docs/spec/reliability.md D6
def test_a_software_pf_whose_violations_nobody_reads_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Pipe() as pipe:
        monkeypatch.setattr(outlet.Outlet.__init__, "__defaults__", (pipe.write_end, 0.0))
        log = ViolationLog(verbose=True)
        pipe.fill()
        assert ends(lambda: log.add(0, "violation", "rule", "text"))
        assert (log.total(), log.unread) == (1, 1)


LOGGING = """
import logging, sys
from iavfio import logs
logs.show("debug"{more})
for number in range(2000):
    logging.getLogger("iavfio.port").warning("line %d %s", number, "x" * 100)
print("done", flush=True)
"""


@pytest.mark.parametrize("more", ["", ", seconds=0.0"], ids=["driver", "software PF"])
def test_whoever_logs_goes_on_when_nobody_reads(more: str) -> None:
    with Pipe() as error:
        child = subprocess.Popen(
            [sys.executable, "-c", LOGGING.replace("{more}", more)],
            stdout=subprocess.PIPE, stderr=error.write_end,
            env=os.environ | {"PYTHONPATH": str(Path(iavfio.__file__).parents[1])},
        )  # fmt: skip
        try:
            assert child.stdout is not None
            assert select.select([child.stdout], [], [], HANG)[0]
            assert child.stdout.read() == b"done\n"
        finally:
            child.kill()
            child.wait()
