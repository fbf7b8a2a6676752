#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How many Python files an operation crosses on the software VF, and its jumps between them.

    tools/trace_files.py [ROOT] [--files]

A file is crossed when a function of it runs. A jump is a call from a function of one file to a
function of another one; only files of iavfio/ count, and code of other packages that lies between
two of them does not. All threads of the program are watched, the software VF's process is not. Each
operation is done once before, so that what is imported at first use does not count. ROOT is the
checkout that is traced, this one by default; it must have been built.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any


class Trace:
    """Counts calls, files and jumps of the functions of one package while it is on."""

    def __init__(self, package: Path) -> None:
        self.prefix = f"{package}/"
        self.on = False
        self.rows: list[tuple[str, int, int, int]] = []
        self.files: set[str] = set()
        self.calls = self.jumps = 0

    def install(self) -> None:
        """Traces this thread and those that start later."""
        threading.setprofile(self)
        sys.setprofile(self)

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event != "call" or not self.on or not name.startswith(self.prefix):
            return
        self.calls += 1
        self.files.add(name.removeprefix(self.prefix))
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(self.prefix):
            caller = caller.f_back
        self.jumps += caller is not None and caller.f_code.co_filename != name

    @contextmanager
    def row(self, title: str) -> Iterator[None]:
        """Prints one line of the table, about what runs inside of the block."""
        self.files, self.calls, self.jumps = set(), 0, 0
        self.on = True
        try:
            yield
        finally:
            self.on = False
            self.rows.append((title, len(self.files), self.calls, self.jumps))


def life(trace: Trace, show_files: bool) -> None:
    """One life of a port, an operation a row."""
    import iavfio

    with iavfio.softvf(uplink="loopback") as pf:
        with trace.row("open, configure, start"):
            port = pf.open(0)
            port.configure(queues=2, metadata={"rss"})
            port.start(wait_link=5)
        frame = port.mac + port.mac + bytes.fromhex("88b5") + bytes(46)
        with port.tx[0].build([frame] * 32) as burst:
            port.tx[0].send(burst)
        time.sleep(0.1)
        receive = trace.row("a burst: receive, look at a column, send")
        with receive, port.rx[0].recv(max=256) as burst:
            port.tx[0].send(burst[burst.u16be(12) == 0x88B5])
        with trace.row("a request: refresh_stats()"):
            port.refresh_stats()
        with trace.row("a reset"):
            port.reset()
        if show_files:
            print("\n".join(sorted(trace.files)))
        with trace.row("close"):
            port.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("root", type=Path, nargs="?", default=here)
    parser.add_argument("--files", action="store_true", help="list the files that a reset crosses")
    args = parser.parse_args()
    root = args.root.resolve()
    sys.path.insert(0, str(root))
    trace = Trace(root / "iavfio")
    trace.install()
    life(trace, False)
    trace.rows.clear()
    life(trace, args.files)
    width = max(len(title) for title, *_ in trace.rows)
    print(f"{'':{width}}  files  calls  jumps")
    for title, files, calls, jumps in trace.rows:
        print(f"{title:{width}}  {files:5}  {calls:5}  {jumps:5}")


if __name__ == "__main__":
    main()
