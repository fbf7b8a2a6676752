# SPDX-License-Identifier: BSD-3-Clause
"""A program in the place of a judge: it starts as one does, and then does what a test wants."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

# Its kernel's part: a directory with its pid, and a line of where and how that was.
PROGRAM = """#!/bin/bash
for word in "$@"; do case $word in uml_dir=*) home=${word#uml_dir=} ;; esac; done
mkdir "${home}abcdef" && echo $$ > "${home}abcdef/pid"
echo "$home $TMPDIR $(stat -c %a "$home")" > "$0.part" && mv "$0.part" "$0.told"
end() { printf '\\003\\000\\000\\000%016d' 0 | tr 0 '\\000' >&4; }
"""
ENDS = "end; head -c 16 <&3 > /dev/null"  # at the first request, which tells it to
SILENT = "sleep 600 & wait"  # from the start on
HANGS = "echo 'it starts'; for n in {1..9}; do echo line $n; done; end; sleep 600 & wait"
PANICS = "echo 'a line of its log'; echo 'Kernel panic - not syncing: no such clock'; exit 1"


def judge(path: Path, does: str) -> Path:
    """Makes the program at `path`, which `does` one of the above."""
    path.write_text(PROGRAM + does + "\n")
    path.chmod(0o755)
    return path


def members(group: int) -> list[int]:
    """Processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ends while it is read
            state, _, its = path.read_text().rpartition(")")[2].split()[:3]
            if int(its) == group and state != "Z":
                found.append(int(path.parent.name))
    return found


def told(path: Path) -> list[str]:
    """Its uml_dir, its TMPDIR and the mode of that directory."""
    return path.with_name(f"{path.name}.told").read_text().split()
