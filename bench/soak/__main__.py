# SPDX-License-Identifier: BSD-3-Clause
"""The command line of a soak."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import bench.soak
from bench.soak.run import soak


def main() -> int:
    parser = argparse.ArgumentParser(description=(bench.soak.__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="where the report goes; stdout without it")
    args = parser.parse_args()
    report = soak(args.seconds, args.seed)
    text = json.dumps(report, indent=2)
    if args.report is not None:
        args.report.write_text(text + "\n", encoding="utf-8")
    print(text)
    if report["wrong"]:
        return 1
    return 130 if report["interrupted"] else 0


if __name__ == "__main__":
    sys.exit(main())
