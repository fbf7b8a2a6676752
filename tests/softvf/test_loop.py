# SPDX-License-Identifier: BSD-3-Clause
"""The event loop of the software VF's process: signals."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

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
