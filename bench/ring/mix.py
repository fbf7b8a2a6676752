# SPDX-License-Identifier: BSD-3-Clause
"""The instruction mix: which functions the instructions of a burst belong to."""

from __future__ import annotations

import bisect
import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

LEAST = 0.02  #: functions below this share are shown together


class Symbols:
    """Names of a program's functions by address."""

    def __init__(self, lines: Iterable[str]) -> None:
        """`lines` as `nm` prints them: address, type, name."""
        parts = (line.split() for line in lines)
        found = sorted((int(p[0], 16), p[2]) for p in parts if len(p) == 3 and p[1] in "tTwW")
        self._starts = [start for start, _ in found]
        self._names = [name for _, name in found]

    @classmethod
    def of(cls, program: Path) -> Symbols:
        done = subprocess.run(["nm", program], capture_output=True, text=True, check=True)
        return cls(done.stdout.splitlines())

    def name(self, address: int) -> str:
        """The function that an address lies in; addresses of shared libraries have none."""
        place = bisect.bisect_right(self._starts, address) - 1
        return self._names[place] if place >= 0 and address < 1 << 32 else "(library)"


def lines(output: Iterable[str], symbols: Symbols) -> Iterator[str]:
    """One block of text for every mix line of the program's output, instructions a packet."""
    for line in output:
        if not line.startswith('{"mix"'):
            continue
        item = json.loads(line)
        count: Counter[str] = Counter()
        for address, times in item["addresses"]:
            count[symbols.name(address)] += times
        total = sum(count.values())
        yield ""
        yield f"{' '.join(map(str, item['mix']))}: {total / item['packets']:.1f} a packet"
        shown = [(name, n) for name, n in count.most_common() if n >= LEAST * total]
        for name, n in shown:
            yield f"  {n / item['packets']:7.2f}  {name}"
        rest = total - sum(n for _, n in shown)
        if rest:
            yield f"  {rest / item['packets']:7.2f}  others"
