# SPDX-License-Identifier: BSD-3-Clause
"""Runs dpdk-testpmd on a terminal of its own and tells what each command of its prompt said.

testpmd.py LIMIT WORDS COMMANDS: seconds for each command; its command line; a JSON list of
commands, in which a number waits as many seconds. Facts: "command" for each, "end" with the status.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.guest.inside.facts import report

PROMPT = b"testpmd> "
TESTPMD = "/usr/bin/dpdk-testpmd"
PLUGINS = Path("/usr/lib/x86_64-linux-gnu/dpdk")
WANTED = ("librte_bus_pci", "librte_net_iavf", "librte_mempool_ring", "librte_common_iavf")


def lean_plugins() -> None:
    """Leaves of a hundred plug-ins what is used: over 9p the others cost seconds for nothing."""
    keep, place = Path("/run/pmds"), next(PLUGINS.glob("pmds-*"))
    if keep.exists():
        return
    linked = subprocess.run(["ldd", TESTPMD], capture_output=True, text=True, check=True).stdout
    needed = {Path(word).resolve().name for word in linked.split() if word.startswith("/")}
    keep.mkdir()
    for library in place.iterdir():
        if library.name.startswith(WANTED) or library.resolve().name in needed:
            # A link stays one: the same plug-in under two names would register twice.
            shutil.copy(library, keep, follow_symlinks=False)
    subprocess.run(["mount", "--bind", str(keep), str(place)], check=True)


class Terminal:
    """The program and what it wrote."""

    def __init__(self, words: list[str]) -> None:
        self._fd, theirs = pty.openpty()
        self.child = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)

    def until_prompt(self, seconds: float) -> tuple[str, bool]:
        """Returns the text up to the prompt, and whether the prompt came."""
        text, deadline = b"", time.monotonic() + seconds
        while PROMPT not in text:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return _plain(text), False
            try:
                text += os.read(self._fd, 1 << 16)
            except OSError:  # how a terminal says that its program ended
                return _plain(text), False
        return _plain(text), True

    def say(self, command: str) -> None:
        """Types a line."""
        os.write(self._fd, command.encode() + b"\n")


def _plain(text: bytes) -> str:
    shown = re.sub(rb"\x1b\[[0-9;]*[A-Za-z]", b"", text).replace(b"\r", b"")
    return shown.decode(errors="replace")


def main() -> None:
    """Does what the module's docstring says."""
    limit, words, commands = float(sys.argv[1]), sys.argv[2].split(), json.loads(sys.argv[3])
    if Path("/job").is_dir():  # a guest's: on a host nothing is mounted over anything
        lean_plugins()
    terminal = Terminal([TESTPMD, *words])
    text, alive = terminal.until_prompt(90)
    report("command", command="", text=text)
    for command in commands:
        if not alive:
            break
        if isinstance(command, str):
            terminal.say(command)
            text, alive = terminal.until_prompt(limit)
            report("command", command=command, text=text)
        else:
            time.sleep(command)
    if alive:
        terminal.say("quit")
        text, _ = terminal.until_prompt(60)
        report("command", command="quit", text=text)
    try:
        status = terminal.child.wait(10)
    except subprocess.TimeoutExpired:
        terminal.child.kill()
        status = -1
    report("end", status=status, alive=alive)


if __name__ == "__main__":
    main()
