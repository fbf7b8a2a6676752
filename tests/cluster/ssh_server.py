# SPDX-License-Identifier: BSD-3-Clause
"""An SSH server of this host that lets everybody in, on the loopback address and while it is asked.

    python ssh_server.py KNOWN_HOSTS

writes its key there, prints its port, and ends what its clients started when they leave.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import asyncssh

ADDRESS = "127.0.0.1"


class Open(asyncssh.SSHServer):  # type: ignore[misc]
    """Asks nobody for a key."""

    def begin_auth(self, username: str) -> bool:
        return False


async def serve(process: Any) -> None:
    """Runs a client's command in a session of its own, which ends with the connection."""
    child = await asyncio.create_subprocess_shell(
        process.command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    pumps = [
        asyncio.create_task(pump(child.stdout, process.stdout)),
        asyncio.create_task(pump(child.stderr, process.stderr)),
    ]
    ends = [asyncio.create_task(child.wait()), asyncio.create_task(process.wait_closed())]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if child.returncode is None:
        os.killpg(child.pid, signal.SIGTERM)
    await asyncio.gather(*pumps, return_exceptions=True)
    process.exit(child.returncode or 0)


async def pump(source: Any, sink: Any) -> None:
    while line := await source.readline():
        sink.write(line.decode(errors="replace"))


async def main(known_hosts: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.create_server(
        Open, ADDRESS, 0, server_host_keys=[key], process_factory=serve
    )
    public = key.export_public_key().decode().strip()
    known_hosts.write_text(f"[{ADDRESS}]:{server.get_port()} {public}\n", encoding="utf-8")
    print(server.get_port(), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
