# SPDX-License-Identifier: BSD-3-Clause
"""The ring bench (docs/guides/performance.md): our driver and DPDK's on rings in plain memory."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from bench import record
from bench.ring import mix, plan, provenance, report
from bench.ring.peer import Peer, PeerMissing, find
from bench.ring.program import BuildFailed, build


def _peer(folder: Path) -> Peer | None:
    try:
        return find(folder)
    except PeerMissing as why:
        print(f"without DPDK: {why}", file=sys.stderr)
        return None


def _program(folder: Path, peer: Peer | None) -> tuple[Path, Peer | None]:
    """The program, and the peer that is in it: another version's queues may be other structures."""
    room, out = folder / "lib_driver_room.a", folder / "ring"
    if peer:
        try:
            return build(room, out, peer), peer
        except BuildFailed as why:
            print(f"without DPDK {peer.version}: it does not build: {why}", file=sys.stderr)
    try:
        return build(room, out, None), None
    except BuildFailed as why:
        raise SystemExit(f"ring: {why}") from None


def _run(command: list[str], groups: list[plan.Group], mixes: list[str]) -> list[report.Row]:
    rows: list[report.Row] = []
    with subprocess.Popen(
        [*command, *(group.argument() for group in groups)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith('{"mix"'):
                mixes.append(line)
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
    parser.add_argument("--cpus", help="driver's CPU, helper's CPU (default: the first two)")
    parser.add_argument("--mix", action="store_true", help="instructions by function")
    parser.add_argument(
        "--backend",
        action="append",
        default=[],
        choices=("iavfio", "mirrored", "dpdk"),
        help="measure this one; mirrored: iavfio while both sides are (default: the others)",
    )
    parser.add_argument("--no-dpdk", action="store_true", help="our driver only")
    results = record.RESULTS / "ring.json"
    parser.add_argument("--out", type=Path, default=results, help="JSON written")
    parser.add_argument("--docs", action="store_true", help="ratios into performance.md")
    parser.add_argument("group", nargs="*", help="RING,BURST,legacy|flex,hot|l3|core[,count]")
    args = parser.parse_args(argv)
    if platform.machine() not in ("x86_64", "AMD64"):
        raise SystemExit("ring: cycles are read and instructions counted as only x86-64 allows")
    folder = Path(args.build).resolve()
    peer = None if args.no_dpdk else _peer(folder / "peer")
    program, peer = _program(folder, peer)
    usable = sorted(os.sched_getaffinity(0))
    cpus = args.cpus or f"{usable[0]},{usable[-1] if len(usable) == 1 else usable[1]}"
    source = provenance.gather(peer.version if peer else None, args.turns, cpus)
    groups = plan.full() if args.full else plan.quick()
    if args.group:
        try:
            groups = [plan.parse(text) for text in args.group]
        except ValueError as why:
            parser.error(str(why))
    if len(usable) == 1:
        print("one CPU: nothing can be dirtied by another", file=sys.stderr)
        groups = [group for group in groups if group.location != "core"]
    started = time.monotonic()
    mixes: list[str] = []
    command = [str(program), "-t", str(args.turns), "-c", cpus, *(["-m"] if args.mix else [])]
    for name in args.backend:
        command += ["-b", name]
    rows = _run(command, groups, mixes)
    source["load_after"] = round(os.getloadavg()[0], 2)
    source["seconds"] = round(time.monotonic() - started)
    for line in (*report.table(rows), *report.lines(report.ratios(rows))):
        print(line)
    if mixes:
        print(*mix.lines(mixes, mix.Symbols.of(program)), sep="\n")
    print(f"\n{source['cpu']}, load {source['load_before']} to {source['load_after']}")
    report.write(args.out, source, rows)
    if args.docs:
        text = report.markdown(report.ratios(rows), rows, source)
        record.fill(record.PAGE, report.BLOCK, text)
    picture = args.out.with_suffix(".svg")
    versions = f"commit {source['commit']}, DPDK {source['dpdk'] or 'absent'}"
    if report.plot(picture, rows, f"forward, flex, ring 512: {source['cpu']}, {versions}"):
        print(f"wrote {args.out} and {picture.name}")
    else:
        print(f"wrote {args.out}; a plot needs matplotlib: pip install 'iavfio[bench]'")


if __name__ == "__main__":
    main(sys.argv[1:])
