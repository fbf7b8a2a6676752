# SPDX-License-Identifier: BSD-3-Clause
"""The event loop of the software VF's process: signals, and what other threads post."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from iavfio.softvf.containment import Account
from iavfio.softvf.loop import Loop


def asleep(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_a_signal_ends_a_sleep_also_where_python_could_not_wake_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own write to the descriptor for that can fail, and the interrupted sleep goes on then."""
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda *_, **__: -1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        loop = Loop()
        loop.stop_on(signal.SIGTERM)
        loop.call_later(0, lambda: os.close(write))
        loop.run()
        os._exit(loop.stopped_by)
    os.close(write)
    assert os.read(read, 1) == b""
    os.close(read)
    while not asleep(child):
        time.sleep(0.01)
    os.kill(child, signal.SIGTERM)
    end = time.monotonic() + 20
    found, status = 0, 0
    while not found and time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if not found:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert found and os.waitstatus_to_exitcode(status) == signal.SIGTERM


def test_what_other_threads_post_is_called_by_the_loops() -> None:
    loop, account, called = Loop(), Account("poster"), []

    def call() -> None:
        called.append(threading.get_ident())
        if len(called) == 3:
            loop.stop()
        raise ValueError

    def post() -> None:
        for _ in range(3):
            loop.post(call, account)

    thread = threading.Thread(target=post)
    loop.call_later(0, thread.start)
    loop.run()
    thread.join()
    assert called == [threading.get_ident()] * 3
    assert (account.faults, loop.own.faults) == (3, 0)  # it is the poster's
    loop.close()


def test_a_closed_loop_calls_nothing() -> None:
    loop, account = Loop(), Account("poster")
    files = len(list(Path("/proc/self/fd").iterdir()))
    loop.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == files - 2  # its epoll, and what wakes it
    loop.post(lambda: None, account)
