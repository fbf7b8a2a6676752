# SPDX-License-Identifier: BSD-3-Clause
"""The command line of a soak."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
from pathlib import Path

import bench.soak
from bench.soak.run import soak


def positive(text: str) -> float:
    """A number of seconds; argparse tells of any other text."""
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ValueError
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=(bench.soak.__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=positive, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="where the report goes; stdout without it")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends as Ctrl-C does
    report = soak(args.seconds, args.seed)
    text = json.dumps(report, indent=2)
    print(text, flush=True)
    if args.report is not None:
        args.report.write_text(text + "\n", encoding="utf-8")
    if report["wrong"]:
        return 1
    return 130 if report["interrupted"] else 0


if __name__ == "__main__":
    sys.exit(main())
