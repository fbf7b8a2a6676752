# SPDX-License-Identifier: BSD-3-Clause
"""Records what the driver and the PF say to each other while a port opens, starts and stops.

    python examples/journal.py [DEVICE [FILE]]

The journal is kept by every port. Saved as JSON lines, it is what a bug report about a PF needs:
`iavfio journal show FILE` decodes it, `iavfio journal diff` compares it with another driver's.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import iavfio
from iavfio.virtchnl.journal import Journal


def record(device: str, file: Path) -> None:
    """One life of a port, its mailbox messages in `file`."""
    with iavfio.open(device) as port:
        port.configure(queues=2)
        port.start(wait_link=5)
        port.refresh_stats()
        port.stop()
        port.journal.save(file)


def show(file: Path) -> None:
    entries = Journal.load(file)
    for entry in entries:
        print(entry)
    print(f"{len(entries)} entries in {file.name}")


if __name__ == "__main__":
    device = sys.argv[1] if len(sys.argv) > 1 else "softvf"
    if len(sys.argv) > 2:
        record(device, Path(sys.argv[2]))
        show(Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as directory:
            record(device, Path(directory) / "port.jsonl")
            show(Path(directory) / "port.jsonl")
