# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio vf` on a real PF driver: PF."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.guest.inside.facts import collect


def vf(*words: str) -> dict[str, Any]:
    """The command as a user runs it."""
    command = [sys.executable, "-m", "iavfio.cli", "vf", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}


def administer(pf: str) -> dict[str, Any]:
    """Sets up VF 1, reads it back, undoes it."""

    def listed() -> Any:
        return json.loads(vf(pf, "list", "--json")["out"])["vfs"]

    before = listed()
    settings = "mac 02:00:00:00:00:08 vlan 200 trust on spoofchk off"
    done = vf(pf, "set", "1", *settings.split())
    during = listed()
    refused = vf(pf, "set", "1", "link", "disable")
    undone = vf(pf, "undo")
    return {
        "before": before,
        "set": done,
        "during": during,
        "refused": refused,
        "undo": undone,
        "after": listed(),
    }


if __name__ == "__main__":
    address = sys.argv[1]
    collect("vf_admin", lambda: administer(address))
