# SPDX-License-Identifier: BSD-3-Clause
"""The software VF end to end against a floor, in interleaved rounds of one run.

The floor (bench/floor.c) is a plain copy loop between two threads over the same ring layout: what
two cores of this machine can do now. `iavfio bench softvf` does the same traffic through driver and
software VF with all checks, accounting and statistics. Seconds differ from machine to machine and
from minute to minute; the ratio is the result.

Usage: python bench/end_to_end.py FLOOR_PROGRAM [--rounds N] [--seconds S] [--json] [bench options]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any

from iavfio.apps.provenance import SOFTWARE, provenance


def floor(program: str, seconds: float) -> float:
    """Mpps of one round of the floor."""
    done = subprocess.run([program, str(seconds)], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["mpps_median"])


def bench(seconds: float, options: list[str]) -> dict[str, Any]:
    """The result of one `iavfio bench softvf`."""
    command = [sys.executable, "-m", "iavfio.cli", "bench", "softvf", "--json"]
    command += ["--duration", str(seconds), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"end_to_end: {' '.join(command)}: {done.stderr.strip()}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def spread(values: list[float]) -> str:
    """Best, median and worst."""
    return f"{max(values):6.2f} {statistics.median(values):6.2f} {min(values):6.2f}"


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("program", help="the floor's executable")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", action="store_true")
    args, options = parser.parse_known_args()
    floors, runs = [], []
    for _ in range(args.rounds):
        floors.append(floor(args.program, args.seconds))
        runs.append(bench(args.seconds, [option for option in options if option != "--"]))
    rates = [run["mpps"] for run in runs]
    ratio = max(rates) / max(floors)
    out = {
        "floor_mpps": floors,
        "mpps": rates,
        "ratio_best": ratio,
        "ratio_median": statistics.median(rates) / statistics.median(floors),
        "lost": sum(run["lost"] for run in runs),
        "empty_poll_share": [run["empty_poll_share"] for run in runs],
        "cycles_per_packet": [run["cycles_per_packet"] for run in runs],
        "load": os.getloadavg()[0],
        "provenance": provenance({"vf0": SOFTWARE}),
    }
    if args.json:
        print(json.dumps(out, indent=2))
        return
    print(f"{'':12} best  median worst   (Mpps, {args.rounds} interleaved rounds)")
    print(f"{'floor':10} {spread(floors)}")
    print(f"{'softvf':10} {spread(rates)}")
    print(f"ratio {ratio:.2f} (best), {out['ratio_median']:.2f} (median); lost {out['lost']}")
    print(f"{out['provenance']['cpu']}, load {out['load']:.1f}; {SOFTWARE}")


if __name__ == "__main__":
    main()
