# SPDX-License-Identifier: BSD-3-Clause
"""The ring bench: our driver and DPDK's on rings in plain memory. See docs/performance.md."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from bench.ring import plan, provenance, report
from bench.ring.peer import Peer, PeerMissing, find
from bench.ring.program import ROOT, BuildFailed, build

RESULTS = ROOT / "bench" / "results"


def _peer(folder: Path) -> Peer | None:
    try:
        return find(folder)
    except PeerMissing as why:
        print(f"without DPDK: {why}", file=sys.stderr)
        return None


def _run(command: list[str], groups: list[plan.Group]) -> list[report.Row]:
    rows: list[report.Row] = []
    with subprocess.Popen(
        [*command, *(group.argument() for group in groups)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            more = report.parse([line])
            if more and (not rows or rows[-1].group != more[0].group):
                print(f"measured {more[0].group}", file=sys.stderr, flush=True)
            rows += more
    if child.returncode:
        raise SystemExit(f"ring: the program ended with {child.returncode}")
    return rows


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ring", description=__doc__)
    parser.add_argument("--full", action="store_true", help="every combination: about an hour")
    parser.add_argument("--build", default="build", help="meson's build directory (make build)")
    parser.add_argument("--turns", type=int, default=100, help="interleaved turns (default 100)")
    parser.add_argument("--cpus", default="0,1", help="driver's CPU, helper's CPU (default 0,1)")
    parser.add_argument("--no-dpdk", action="store_true", help="our driver only")
    parser.add_argument("--out", type=Path, default=RESULTS / "ring.json", help="JSON written")
    parser.add_argument("group", nargs="*", help="RING,BURST,legacy|flex,hot|l3|core[,count]")
    args = parser.parse_args(argv)
    if platform.machine() not in ("x86_64", "AMD64"):
        raise SystemExit("ring: cycles are read and instructions counted as only x86-64 allows")
    folder = Path(args.build).resolve()
    peer = None if args.no_dpdk else _peer(folder / "peer")
    try:
        program = build(folder / "lib_driver_room.a", folder / "ring", peer)
    except BuildFailed as why:
        raise SystemExit(f"ring: {why}") from None
    source = provenance.gather(peer.version if peer else None, args.turns, args.cpus)
    groups = plan.full() if args.full else plan.quick()
    if args.group:
        groups = [plan.parse(text) for text in args.group]
    started = time.monotonic()
    rows = _run([str(program), "-t", str(args.turns), "-c", args.cpus], groups)
    source["load_after"] = round(os.getloadavg()[0], 2)
    source["seconds"] = round(time.monotonic() - started)
    for line in (*report.table(rows), *report.verdicts(report.ratios(rows))):
        print(line)
    print(f"\n{source['cpu']}, load {source['load_before']} to {source['load_after']}")
    report.write(args.out, source, rows)
    picture = args.out.with_suffix(".svg")
    if report.plot(picture, rows, f"forward, flex, ring 512: {source['cpu']}"):
        print(f"wrote {args.out} and {picture.name}")
    else:
        print(f"wrote {args.out}; a plot needs matplotlib")


if __name__ == "__main__":
    main(sys.argv[1:])
