# SPDX-License-Identifier: BSD-3-Clause
"""iavfio's forwarding and DPDK's testpmd on the same software VF, in interleaved slices of one run.

One software PF with two equal VFs runs throughout; testpmd (through `iavfio preload`, AVX-512) has
one, this program the other. In turn each lets the same number of packets circulate: it sends them,
the wire brings them back, it forwards them, untouched, for a slice. What moved is read from the
software VF's own counters for both. Two cores: the software VF on one, the driver on the other.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import shutil
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

import iavfio
from bench import circulation, record
from iavfio.bench.provenance import SOFTWARE, provenance
from iavfio.datapath.worker import Lane, Worker
from iavfio.port.rss import Rss
from iavfio.preload import prepare
from iavfio.softvf import SoftPf

PROGRAM = "dpdk-testpmd"
EAL = "-v --no-huge -m 160 --no-shconf --no-telemetry --iova-mode=va"
LOG = "--log-level=pmd.net.iavf.driver:debug"
PROMPT = b"testpmd> "
PATIENCE = 30.0  # seconds for a command of testpmd's
BUFFERS = 4096  # of both
WIDTHS = {"scalar": 64, "avx2": 256, "avx512": 512}


class TestpmdFailed(Exception):
    """testpmd ended, or did not answer; the text is testpmd's own."""


@dataclass(frozen=True)
class Slice:
    """What one side did in one slice."""

    mpps: float  #: by the software VF's counters
    packets: int  #: forwarded, as the driver counts
    polls: int
    empty_polls: int
    cycles: float  #: TSC cycles a packet in polls that were not empty
    discards: int

    @property
    def empty_share(self) -> float:
        """Share of polls that found nothing."""
        return self.empty_polls / self.polls if self.polls else 0.0

    @property
    def burst(self) -> float:
        """Packets a poll that was not empty."""
        return self.packets / max(self.polls - self.empty_polls, 1)


class Testpmd:
    """testpmd at its prompt, on a terminal of its own; a context manager."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self._fd, theirs = pty.openpty()
        try:
            self._child = subprocess.Popen(
                words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
            )
        finally:
            os.close(theirs)
        try:
            self.greeting = self._until_prompt()
        except BaseException:
            self.close()
            raise

    def say(self, command: str) -> str:
        """Returns testpmd's answer up to its next prompt. Raises TestpmdFailed."""
        os.write(self._fd, command.encode() + b"\n")
        return self._until_prompt()

    def _until_prompt(self) -> str:
        text, deadline = b"", time.monotonic() + PATIENCE
        while PROMPT not in text:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                raise TestpmdFailed(f"no prompt within {PATIENCE:.0f} s:\n{_plain(text)}")
            try:
                text += os.read(self._fd, 1 << 16)
            except OSError:  # how a terminal says that its program ended
                raise TestpmdFailed(f"testpmd ended:\n{_plain(text)}") from None
        return _plain(text)

    def close(self) -> None:
        """Ends it in order if it can be."""
        try:
            if self._child.poll() is None:
                os.write(self._fd, b"quit\n")
                deadline = time.monotonic() + 5.0
                while self._child.poll() is None and time.monotonic() < deadline:
                    if select.select([self._fd], [], [], 0.05)[0]:
                        os.read(self._fd, 1 << 16)
        except OSError:
            pass
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        os.close(self._fd)

    def __enter__(self) -> Testpmd:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def _plain(text: bytes) -> str:
    shown = re.sub(rb"\x1b\[[0-9;]*[A-Za-z]", b"", text).replace(b"\r", b"")
    return shown.decode(errors="replace")


def polls_of(text: str) -> tuple[int, int, int, float]:
    """Packets, polls, empty ones and cycles a packet of what `stop` says.

    testpmd sends after every poll that found something, so the rest was empty; its own list of
    shares is rounded to whole percents. Raises TestpmdFailed for another text.
    """
    found = [
        re.search(pattern, text)
        for pattern in (r"RX-packets: (\d+)", r"RX-bursts : (\d+)", r"TX-bursts : (\d+)")
    ]
    cycles = re.search(r"CPU cycles/packet=([0-9.]+)", text)
    if cycles is None or not all(found):
        raise TestpmdFailed(f"no statistics in:\n{text}")
    packets, polls, busy = (int(match[1]) for match in found if match)
    return packets, polls, polls - busy, float(cycles[1])


@dataclass
class Comparison:
    """The software PF and who uses its VFs."""

    pf: SoftPf
    slice: float
    packets: int

    def theirs(self, testpmd: Testpmd, vf: int, burst: int) -> Slice:
        """A slice of testpmd's."""
        testpmd.say(f"start tx_first {self.packets // burst}")
        said: list[str] = []
        mpps, discards = circulation.watched(
            self.pf, vf, self.slice, lambda: said.append(testpmd.say("stop"))
        )
        packets, polls, empty, cycles = polls_of(said[0])
        return Slice(mpps, packets, polls, empty, cycles, discards)

    def ours(self, port: iavfio.Port, vf: int, burst: int, cpu: int) -> Slice:
        """A slice of ours."""
        circulation.refill(port, self.packets)
        lane = Lane(port.rx[0])
        with Worker("forward", [lane], burst=burst, macs="keep", cpu=cpu) as worker:
            mpps, discards = circulation.watched(self.pf, vf, self.slice, worker.close)
            c = worker.counters
        cycles = c.tsc_busy / max(c.received, 1)
        return Slice(mpps, c.received, c.loops, c.empty_loops, cycles, discards)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All rounds. Raises SystemExit with what is missing."""
    if shutil.which(PROGRAM) is None:
        raise SystemExit(f"there is no {PROGRAM}: apt-get install dpdk-dev")
    driver, device = circulation.two_cpus(args.cpus)
    source = provenance({"vf0": SOFTWARE}) | {"load_before": record.load()}
    pool = iavfio.Pool(BUFFERS, huge="never")
    theirs: list[Slice] = []
    ours: list[Slice] = []
    with (
        iavfio.softvf(vfs=2, personality=args.personality, options={"mac": "set"}) as pf,
        prepare(pf.sockets[:1]) as preload,
        pf.open(1, pool=pool) as port,
    ):
        circulation.pin(pf.pid, device)
        # testpmd with one queue lets nothing be hashed: the software VF shall do the same for both.
        port.configure(ring=args.ring, rss=Rss.make(fields=()))
        port.start(wait_link=5.0)
        peer = pf.control("snapshot", vf=0)["snapshot"]["default_mac"]
        cores = f"-l {driver},{device} --main-lcore {device}"
        width = f"--force-max-simd-bitwidth={WIDTHS[args.isa]}"
        line = f"{PROGRAM} {EAL} {LOG} {cores} {width} -a {preload.bdfs[0]} -- -i"
        line += f" --no-mlockall --total-num-mbufs={BUFFERS} --burst={args.burst}"
        line += f" --rxd={args.ring} --txd={args.ring} --eth-peer=0,{peer}"
        line += " --record-burst-stats --record-core-cycles"
        with Testpmd(line.split(), preload.environment()) as testpmd:
            paths = re.findall(r"Using (\w+) Vector ([RT]x)", testpmd.greeting)
            version = re.search(r"RTE Version: '([^']+)'", testpmd.greeting)
            both = Comparison(pf, args.slice, args.packets)
            for turn in range(args.rounds):
                if turn % 2:
                    ours.append(both.ours(port, 1, args.burst, driver))
                theirs.append(both.theirs(testpmd, 0, args.burst))
                if not turn % 2:
                    ours.append(both.ours(port, 1, args.burst, driver))
        isa = port.rx[0].isa
        violations = [str(entry) for entry in pf.violations()]
    source |= {"load_after": record.load(), "driver_cpu": driver, "device_cpu": device}
    source["dpdk"] = version[1] if version else "unknown"
    ratio = {
        "best": max(s.mpps for s in ours) / max(s.mpps for s in theirs),
        "median": _median(ours, "mpps") / _median(theirs, "mpps"),
        "of_slices": statistics.median(
            a.mpps / max(b.mpps, 1e-9) for a, b in zip(ours, theirs, strict=True)
        ),
    }
    return {
        "provenance": source,
        "settings": {
            "personality": args.personality,
            "ring": args.ring,
            "burst": args.burst,
            "frame": circulation.FRAME + 4,
            "packets": args.packets,
            "slice_s": args.slice,
            "rounds": args.rounds,
            "memory": "4 KiB pages, 2048 bytes a buffer",
            "testpmd": [" ".join(path) for path in paths],
            "iavfio": isa,
        },
        "ratio": ratio,
        "violations": violations,
        "testpmd": [asdict(s) | {"empty_share": s.empty_share, "burst": s.burst} for s in theirs],
        "iavfio": [asdict(s) | {"empty_share": s.empty_share, "burst": s.burst} for s in ours],
    }


def _median(slices: list[Slice], name: str) -> float:
    return float(statistics.median(getattr(s, name) for s in slices))


def rows(out: dict[str, Any]) -> list[list[str]]:
    """One row a side."""

    def row(name: str) -> list[str]:
        slices = out[name]
        path = out["settings"][name]
        middle = {
            key: statistics.median(s[key] for s in slices)
            for key in ("empty_share", "cycles", "burst")
        }
        return [
            f"{name} ({path if isinstance(path, str) else ', '.join(path)})",
            record.spread([s["mpps"] for s in slices]),
            f"{middle['empty_share']:.1%}",
            f"{middle['burst']:.1f}",
            f"{middle['cycles']:.1f}",
        ]

    return [row("testpmd"), row("iavfio")]


COLUMNS = (
    "driver|Mpps: best / median / worst|empty polls|packets a poll|cycles a packet in other polls"
)


def summary(out: dict[str, Any]) -> str:
    """The ratios in a line."""
    ratio = out["ratio"]
    return (
        f"iavfio of testpmd: {ratio['best']:.2f} (best), {ratio['median']:.2f} (median), "
        f"{ratio['of_slices']:.2f} (median of neighbouring slices)"
    )


def main() -> None:
    """Prints a table and writes bench/results/testpmd.json."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.testpmd", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--slice", type=float, default=0.2, help="seconds (default 0.2)")
    parser.add_argument("--packets", type=int, default=256, help="that circulate (default 256)")
    parser.add_argument("--burst", type=int, default=32)
    parser.add_argument("--ring", type=int, default=512)
    parser.add_argument("--personality", default="e810")
    parser.add_argument("--isa", choices=WIDTHS, default="avx512", help="testpmd's widest code")
    parser.add_argument("--cpus", help="driver's CPU, software VF's CPU (default: the first two)")
    parser.add_argument("--docs", action="store_true", help="the table into performance.md")
    args = parser.parse_args()
    if args.packets % args.burst or not 0 < args.packets <= args.ring - 64:
        parser.error("the packets are whole bursts, and fewer than the ring has room for")
    try:
        out = measure(args)
    except TestpmdFailed as why:
        raise SystemExit(f"testpmd: {why}") from None
    lines = rows(out)
    print(f"{'':40} {'Mpps: best / median / worst':30} empty  packets/poll  cycles/packet")
    for name, mpps, empty, burst, cycles in lines:
        print(f"{name:40} {mpps:30} {empty:>6} {burst:>12} {cycles:>14}")
    print(summary(out))
    for violation in out["violations"]:
        print(violation)
    source = out["provenance"]
    print(f"{source['cpu']}, load {source['load_before']} to {source['load_after']}; {SOFTWARE}")
    print(f"wrote {record.save('testpmd', out)}")
    if args.docs:
        text = record.origin(
            source, f"{source['dpdk']}, {args.rounds} rounds of {args.slice:g} s each"
        )
        table = record.table(COLUMNS, lines)
        record.fill(record.PAGE, "testpmd-results", f"{text}\n\n{table}\n\n{summary(out)}.")


if __name__ == "__main__":
    main()
