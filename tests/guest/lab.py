# SPDX-License-Identifier: BSD-3-Clause
"""The guest lab from the command line: python3 -m tests.guest.lab build | run COMMAND | status."""

from __future__ import annotations

from tests.guest.root import build_root

if __name__ == "__main__":
    print(build_root())
