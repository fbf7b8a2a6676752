# SPDX-License-Identifier: BSD-3-Clause
"""A worker that had no CPU for a while: what came meanwhile lies in its rings, and is not lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

AWAY = 0.6  # seconds; the worker calls frames lost that are half a second under way
TIMES = 6
# Both lanes are one worker's, and the PF holds each frame for 60 ms: the window is always full.
RUN = """
import sys, iavfio
from iavfio.datapath.worker import Lane, Worker, VerifyTable
from tests.port.rig import until
with iavfio.softvf(vfs=2, options={"delay_us": 60_000}) as pf, pf.open(0) as a, pf.open(1) as b:
    for port in (a, b):
        port.configure(queues=1, ring=256)
        port.start(wait_link=10)
    table = VerifyTable(2, 1)
    lanes = [Lane(a.rx[0], None, b.mac, a.mac), Lane(b.rx[0], None, a.mac, b.mac)]
    worker = Worker("loopback", lanes, signature=1, verify=table)
    assert until(lambda: worker.counters.received > 0)
    print("it runs", flush=True)
    sys.stdin.read()
    worker.finish(5.0, 20.0)
    until(lambda: worker.counters.state >= 2 and worker.counters.received >= worker.counters.sent)
    worker.close()
    table.close()
    for port in (a, b):
        port.refresh_stats()
    discards = sum(port.stats.snapshot().pf["rx_discards"] for port in (a, b))
    print(worker.counters.sent, worker.counters.received, discards)
"""


def test_frames_that_wait_for_a_worker_are_not_written_off() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "it runs\n"
        for _ in range(TIMES):
            child.send_signal(signal.SIGSTOP)
            time.sleep(AWAY)
            child.send_signal(signal.SIGCONT)
            time.sleep(0.2)
        out, _ = child.communicate("end", timeout=60)
    sent, received, discarded = map(int, out.split())
    assert sent > 0
    assert (received, discarded) == (sent, 0)
