# SPDX-License-Identifier: BSD-3-Clause
"""Two ports of a software PF under resets, link flaps and reconfiguration, with exact accounts.

    python -m bench.soak [--seconds 600] [--seed 1] [--report soak.json]

Rounds without end: frames with numbers go from each port to the other while something happens to
one of them; then as many again in peace. Of the former some may be lost, but none may come twice,
be changed, or come out of order; of the latter each must come. Memory, descriptors, mappings and
threads are watched, and at the end every buffer must be back. Exit status 1 when anything of that
is not so. A run of the same seed does the same things in the same order.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import iavfio
from iavfio.errors import IavfioError
from iavfio.qualify.usage import Usage

PEACE = 512  # frames each way that must all come
STORM = 256  # frames each way while something happens
ETHERTYPE = bytes.fromhex("88b5")  # for experiments
WARM_UP = 20  # rounds before usage is compared
SETTLE = 20.0  # seconds that frames of the last round may take
RESETS = ("reset by the driver", "reset by the host", "reset without notice")
STEPS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass
class Account:
    """What became of all frames, and what was wrong."""

    sent: int = 0
    received: int = 0
    lost: int = 0  # in storms
    rounds: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    outages: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def report(self, seconds: float, usage: dict[str, Any]) -> dict[str, Any]:
        """Returns the account as JSON-able values."""
        return {
            "seconds": round(seconds, 1),
            "rounds": self.rounds,
            "sent": self.sent,
            "received": self.received,
            "lost_in_storms": self.lost,
            "happened": dict(self.happened),
            "outage_ms": histogram(self.outages),
            "usage": usage,
            "wrong": self.wrong,
        }


def histogram(seconds: list[float]) -> dict[str, int]:
    """Number of values up to each step, in milliseconds."""
    counts = Counter(
        next((f"<= {step}" for step in STEPS_MS if value * 1e3 <= step), f"> {STEPS_MS[-1]}")
        for value in seconds
    )
    names = [*(f"<= {step}" for step in STEPS_MS), f"> {STEPS_MS[-1]}"]
    return {name: counts[name] for name in names if counts[name]}


class Way:
    """From one port to the other; frames are numbered, and carry what follows from the number."""

    def __init__(self, source: iavfio.Port, sink: iavfio.Port, account: Account) -> None:
        self.source, self.sink, self.account = source, sink, account
        self.next = 0
        self.last = -1  # the highest number that came

    def send(self, count: int) -> int:
        """Sends up to `count` frames, fewer in a reset; returns how many the device took."""
        head = self.sink.mac + self.source.mac + ETHERTYPE
        frames = [head + content(n) for n in range(self.next, self.next + count)]
        try:
            with self.source.tx[0].build(frames) as burst:
                taken = self.source.tx[0].send(burst)
        except IavfioError:  # stopped by what happens to the port
            return 0
        self.next += taken
        self.account.sent += taken
        return taken

    def receive(self, timeout: float | None = None) -> int:
        """Takes and checks what has come; returns how many."""
        try:
            with self.sink.rx[0].recv(timeout=timeout) as burst:
                for packet in burst:
                    self.check(bytes(packet)[14:])
                return len(burst)
        except IavfioError:
            return 0

    def check(self, body: bytes) -> None:
        number = int.from_bytes(body[:8], "big")
        if number >= self.next or body != content(number):
            self.account.wrong.append(f"a frame that nobody sent: {body[:16].hex()}")
        elif number <= self.last:
            self.account.wrong.append(f"frame {number} came after {self.last}")
        else:
            self.account.lost += number - self.last - 1
            self.account.received += 1
            self.last = number

    def settle(self) -> None:
        """Counts as lost what was sent and has not come."""
        self.account.lost += self.next - 1 - self.last
        self.last = self.next - 1


def content(number: int) -> bytes:
    """46 to 1000 bytes that belong to this number."""
    return number.to_bytes(8, "big") + bytes([number * 7 % 251]) * (38 + number * 37 % 954)


class Soak:
    """The ports, and what may happen to them."""

    def __init__(self, pf: Any, ports: tuple[iavfio.Port, iavfio.Port], seed: int) -> None:
        self.pf, self.ports = pf, ports
        self.dice = random.Random(seed)
        self.account = Account()
        self.ways = self.new_ways()
        self.events: list[tuple[str, Callable[[int], object]]] = [
            ("reset by the driver", lambda vf: ports[vf].reset()),
            ("reset by the host", lambda vf: pf.control("reset", vf=vf)),
            ("reset without notice", lambda vf: pf.control("reset", vf=vf, notify=False)),
            ("link flap", self.flap),
            ("reconfiguration", self.reconfigure),
            ("stop and start", self.restart),
        ]

    def new_ways(self) -> tuple[Way, Way]:
        a, b = self.ports
        return Way(a, b, self.account), Way(b, a, self.account)

    def flap(self, vf: int) -> None:
        self.pf.control("link", vf=vf, state="disable")
        self.pf.control("link", vf=vf, state="auto")

    def reconfigure(self, vf: int) -> None:
        port = self.ports[vf]
        port.stop()
        ring = self.dice.choice((512, 1024, 2048))
        port.configure(ring=ring, mtu=self.dice.choice((1500, 3000)))
        port.start()

    def restart(self, vf: int) -> None:
        self.ports[vf].stop()
        self.ports[vf].start()

    def round(self) -> None:
        """Something happens in the middle of traffic; then all must be as before."""
        what, happen = self.dice.choice(self.events)
        vf = self.dice.randrange(2)
        self.account.happened[what] += 1
        before = [len(port.resets) for port in self.ports]
        for step in range(8):
            for way in self.ways:
                way.send(STORM // 8)
                way.receive()
            if step == 3:
                happen(vf)
        if what in RESETS:  # the host's comes a moment after it was asked for
            self.wait(lambda: len(self.ports[vf].resets) > before[vf], f"no end of: {what}")
        self.calm()
        for port, known in zip(self.ports, before, strict=True):
            self.account.outages += [reset.outage for reset in port.resets[known:]]
        for way in self.ways:
            self.peace(way, what)
        self.account.rounds += 1

    def calm(self) -> None:
        """Waits until both ports run with their link up, and nothing is on its way any more."""
        for port in self.ports:
            port.wait_running()
            if not port.wait_link(SETTLE).up:
                self.account.wrong.append(f"{port.name}: the link stays down: {port.link}")
        quiet, end = 0, time.monotonic() + SETTLE
        while quiet < 3 and time.monotonic() < end:
            quiet = 0 if sum(self.come()) else quiet + 1
            for port in self.ports:
                port.tx[0].clean()
                if port.tx[0].in_flight:
                    quiet = 0
        for way in self.ways:
            way.settle()

    def wait(self, condition: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + SETTLE
        while not condition():
            if time.monotonic() > end:
                self.account.wrong.append(otherwise)
                return
            self.come()

    def come(self) -> list[int]:
        """Receives what each way brings within a moment; returns the numbers of frames."""
        return [way.receive(timeout=0.005) for way in self.ways]

    def peace(self, way: Way, what: str) -> None:
        """Checks that every frame comes."""
        lost, end, sent = self.account.lost, time.monotonic() + SETTLE, 0
        while (sent < PEACE or way.last < way.next - 1) and time.monotonic() < end:
            sent += way.send(min(64, PEACE - sent)) if sent < PEACE else 0
            way.receive(timeout=0.01)
        missing = self.account.lost - lost + way.next - 1 - way.last + PEACE - sent
        if missing:
            self.account.wrong.append(f"{missing} frames are missing after: {what}")
            way.settle()


def soak(seconds: float, seed: int) -> dict[str, Any]:
    """The report of one run; `wrong` in it is empty when all was exact."""
    pool = iavfio.Pool(16384, huge="never")
    with ExitStack() as stack:
        pf = stack.enter_context(iavfio.softvf(vfs=2, options={"reset_ms": 2}))
        a = stack.enter_context(pf.open(0, pool=pool))
        b = stack.enter_context(pf.open(1, pool=pool))
        for port in (a, b):
            port.configure(queues=1, ring=1024)
            port.start(wait_link=10)
        run = Soak(pf, (a, b), seed)
        begin = time.monotonic()
        first, threads = Usage.now(), threading.active_count()
        while time.monotonic() < begin + seconds and not run.account.wrong:
            run.round()
            if run.account.rounds == WARM_UP:
                first = Usage.now()
        last = Usage.now()
        run.account.wrong += last.grown(first)
        if threading.active_count() > threads:
            run.account.wrong.append(f"{threading.active_count()} threads, {threads} at first")
        run.account.wrong += [str(violation) for violation in pf.violations()]
        took = time.monotonic() - begin
    if pool.idle != pool.size:
        run.account.wrong.append(f"{pool.size - pool.idle} buffers are missing")
    if run.account.sent != run.account.received + run.account.lost:
        run.account.wrong.append("sent is not received and lost")
    return run.account.report(took, {"begin": asdict(first), "end": asdict(last)})


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="where the report goes; stdout without it")
    args = parser.parse_args()
    report = json.dumps(soak(args.seconds, args.seed), indent=2)
    if args.report is not None:
        args.report.write_text(report + "\n", encoding="utf-8")
    print(report)
    return 1 if json.loads(report)["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
