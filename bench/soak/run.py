# SPDX-License-Identifier: BSD-3-Clause
"""Rounds without end in which something happens to a port, and all must be as before."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import iavfio
from bench.soak.account import Account
from bench.soak.load import SETTLE, Load, until
from bench.soak.neighbours import Neighbour, rage, work
from bench.soak.way import Way
from iavfio.port.events import PortEvent
from iavfio.qualify.usage import Usage
from tests.hostile.storms import STORMS

PEACE = 384  # frames each way that must all come: the smallest ring holds them all
STORM = 256  # frames each way while something happens
LOADED = 400_000  # frames of the worker that must all come
BESIDE = 20_000  # its frames before something happens, and after
IN_A_ROW = 8  # resets under one worker
KINDS = 32  # of rounds, by what happens in them: most are resets
WARM_UP = 20  # rounds before usage is compared
TOLD = 60.0  # seconds between two lines about how far it is
RESETS = ("reset by the driver", "reset by the host", "reset without notice")
STALL = "send queue stalled"
# Threads that the software PF begins when it needs one, of each of four VFs and of its control
# socket: they close and free what clients leave (docs/spec/reliability.md D6).
ASIDE = 4 * 5 + 2
VICTIM, ENEMY = 2, 3  # VFs of the process that is killed, and of the one that storms


class Server:
    """What the software PF's process holds, from its making on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._begin, self._threads = self._now()
        self._end = self._begin

    def _now(self) -> tuple[Usage, int]:
        return Usage.of(self._pid), len(list(Path(f"/proc/{self._pid}/task").iterdir()))

    def grown(self) -> list[str]:
        """What has grown and stays so, in words: what a client held is given back in a moment."""
        wrong: list[str] = []

        def settled() -> bool:
            self._end, threads = self._now()
            wrong[:] = [f"the software PF: {each}" for each in self._end.grown(self._begin)]
            if threads > self._threads + ASIDE:
                wrong.append(f"the software PF: {threads} threads, {self._threads} at first")
            return not wrong

        until(settled)
        return wrong

    def told(self) -> dict[str, dict[str, float]]:
        """Its usage at the beginning and at the end."""
        return {"server_begin": asdict(self._begin), "server_end": asdict(self._end)}


class Soak:
    """The ports, their neighbours, and what may happen to them."""

    def __init__(self, pf: Any, ports: tuple[iavfio.Port, iavfio.Port], seed: int) -> None:
        self.pf, self.ports = pf, ports
        self.dice = random.Random(seed)
        self.account = Account()
        a, b = ports
        self.ways = (Way(a, b, self.account), Way(b, a, self.account))
        # When something was done to each VF of which its port is to tell, and where the time goes.
        self.asked: list[tuple[float, list[float]] | None] = [None, None]
        for vf, port in enumerate(ports):
            port.on_event += [self.hearing(vf)]
        self.events: dict[str, Callable[[int], object]] = {
            "reset by the driver": lambda vf: ports[vf].reset(),
            "reset by the host": lambda vf: self.host(vf, "reset"),
            "reset without notice": lambda vf: self.host(vf, "reset", notify=False),
            "link flap": self.flap,
            STALL: self.stall,
        }
        self.pauses: dict[str, Callable[[int], object]] = {
            "reconfiguration": self.reconfigure,
            "stop and start": self.restart,
        }
        self.victim: Neighbour | None = None

    def hearing(self, vf: int) -> Callable[[PortEvent], None]:
        """Returns what takes the time when VF `vf`'s port tells what the host did to it."""

        def hear(event: PortEvent) -> None:
            asked = self.asked[vf]
            if asked is not None and event.kind in ("reset", "link"):
                self.asked[vf] = None
                began, times = asked
                times.append(time.monotonic() - began)

        return hear

    # ---- what may happen

    def host(self, vf: int, command: str, **options: Any) -> None:
        """The host does something to a VF, of which its port is to tell."""
        self.asked[vf] = time.monotonic(), self.account.detected
        self.pf.control(command, vf=vf, **options)

    def stall(self, vf: int) -> None:
        """The device completes nothing of the send queue any more, until its port resets it."""
        self.asked[vf] = time.monotonic(), self.account.stalls
        self.pf.control("fault", vf=vf, kind="tx_stall", queue=0)

    def flap(self, vf: int) -> None:
        self.host(vf, "link", state="disable")
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

    def kill(self) -> None:
        """A driver of another VF is killed while it sends, and another one comes in its place."""
        if self.victim is not None:
            if not self.victim.at_work():
                self.account.wrong.append("a driver that follows a killed one does not work")
            self.victim.kill()
        self.victim = Neighbour(work, self.pf.sockets[VICTIM])

    # ---- rounds

    def round(self) -> None:
        """Something happens in the midst of traffic; then all must be as before."""
        vf = self.dice.randrange(2)
        before = [len(port.resets) for port in self.ports]
        kind = self.dice.randrange(KINDS)
        if kind == 0:
            what = "a driver killed"
            self.storm(self.kill)
        elif kind == 1:
            what = self.beside_a_storm()
        elif kind < 4:
            what, happen = self.dice.choice(list(self.pauses.items()))
            self.storm(lambda: happen(vf))
        else:
            what = "link flap" if kind in (4, 20) else self.dice.choice(RESETS)
            if kind == KINDS - 1:
                what = STALL
            if kind < 20:
                self.load(what, lambda load: self.under_a_worker(what, load))
                what += ", under a worker"
            else:
                known = len(self.ports[vf].resets)
                self.storm(lambda: self.events[what](vf))
                self.await_reset(what, vf, known)
        self.account.happened[what] += 1
        self.calm()
        for port, known in zip(self.ports, before, strict=True):
            self.account.resets += len(port.resets) - known
            self.account.outages += [reset.outage for reset in port.resets[known:]]
        self.asked = [None, None]
        for way in self.ways:
            self.peace(way, what)
        for port, known in zip(self.ports, before, strict=True):
            firsts = (reset.first_packet for reset in port.resets[known:])
            self.account.first_packets += [first for first in firsts if first is not None]
        self.load(what)
        self.account.rounds += 1

    def storm(self, happen: Callable[[], object]) -> None:
        """Numbered frames go both ways while something happens."""
        for step in range(8):
            for way in self.ways:
                way.send(STORM // 8)
                way.receive()
            if step == 3:
                happen()

    def await_reset(self, what: str, vf: int, known: int) -> None:
        """A reset ends: the host's comes a moment after it was asked for."""
        if what != "link flap" and not until(lambda: len(self.ports[vf].resets) > known):
            self.account.wrong.append(f"no end of: {what}")

    def beside_a_storm(self) -> str:
        """A client of another VF storms beside both kinds of traffic; returns the storm's name."""
        name = self.dice.choice(list(STORMS))
        what = f"hostile neighbour: {name}"
        enemy = Neighbour(rage, self.pf.sockets[ENEMY], name)
        try:
            if not enemy.at_work():
                self.account.wrong.append(f"{what}: it could not begin")
            self.storm(lambda: None)
            self.load(what, lambda load: enemy.kill())
        finally:
            enemy.kill()
        return what

    def load(self, what: str, happen: Callable[[Load], object] | None = None) -> None:
        """A C worker's traffic, in which nothing may be lost unless something happens."""
        with Load(self.ports, self.account, lossless=happen is None) as load:
            if not load.reached(LOADED if happen is None else BESIDE):
                self.account.wrong.append(f"the worker's traffic stands still, at: {what}")
            elif happen is not None:
                happen(load)
            load.settle(what)

    def under_a_worker(self, what: str, load: Load) -> None:
        """The same happens again and again, to one VF or the other, with traffic after each."""
        for _ in range(IN_A_ROW):
            vf = self.dice.randrange(2)
            known = len(self.ports[vf].resets)
            self.events[what](vf)
            self.await_reset(what, vf, known)
            self.await_running()
            if not load.reached(BESIDE):
                self.account.wrong.append(f"the worker's traffic has ended, at: {what}")
                break

    def await_running(self) -> None:
        """Waits until both ports run with their link up."""
        for port in self.ports:
            port.wait_running()
            if not port.wait_link(SETTLE).up:
                self.account.wrong.append(f"{port.name}: the link stays down: {port.link}")

    def calm(self) -> None:
        """Waits until both ports run with their link up, and nothing is on its way any more."""
        self.await_running()
        quiet, end = 0, time.monotonic() + SETTLE
        while quiet < 3 and time.monotonic() < end:
            quiet = 0 if sum(self.come()) else quiet + 1
            for port in self.ports:
                port.tx[0].clean()
                if port.tx[0].in_flight:
                    quiet = 0
        for way in self.ways:
            way.settle()

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

    def violations(self) -> list[str]:
        """What the ports did wrong, as the software PF saw it: their neighbours do as they like."""
        return [str(each) for each in self.pf.violations() if each.vf < len(self.ports)]

    def close(self) -> None:
        """Ends the neighbours."""
        if self.victim is not None:
            self.victim.kill()
            self.victim = None


def soak(seconds: float, seed: int) -> dict[str, Any]:
    """The report of one run; `wrong` in it is empty when all was exact. Ctrl-C ends it early."""
    pool = iavfio.Pool(16384, huge="never")
    with ExitStack() as stack:
        pf = stack.enter_context(iavfio.softvf(vfs=4, options={"reset_ms": 2}))
        a = stack.enter_context(pf.open(0, pool=pool))
        b = stack.enter_context(pf.open(1, pool=pool))
        for port in (a, b):
            port.configure(queues=1, ring=1024)
            port.start(wait_link=10)
        run = Soak(pf, (a, b), seed)
        stack.callback(run.close)
        account = run.account
        begin = told = time.monotonic()
        first, threads = Usage.now(), threading.active_count()
        server = Server(pf.pid)
        try:
            while time.monotonic() < begin + seconds and not account.wrong:
                run.round()
                account.wrong += run.violations()
                if account.rounds == WARM_UP:
                    run.close()  # what the PF holds for a neighbour shall not be in its measure
                    first, server = Usage.now(), Server(pf.pid)
                if time.monotonic() - told >= TOLD:
                    told = time.monotonic()
                    tell(told - begin, account)
        except KeyboardInterrupt:
            account.interrupted = True
            for way in run.ways:
                way.settle()
        last = Usage.now()
        account.wrong += last.grown(first)
        if threading.active_count() > threads:
            account.wrong.append(f"{threading.active_count()} threads, {threads} at first")
        run.close()
        account.wrong += server.grown()
        took = time.monotonic() - begin
    if pool.idle != pool.size:
        account.wrong.append(f"{pool.size - pool.idle} buffers are missing")
    account.balance()
    return account.report(took, {"begin": asdict(first), "end": asdict(last), **server.told()})


def tell(seconds: float, account: Account) -> None:
    """A line about how far a long run is."""
    print(
        f"{seconds:.0f} s: {account.rounds:,} rounds, {account.packets:,} packets, "
        f"{account.resets:,} resets",
        file=sys.stderr,
        flush=True,
    )
