# SPDX-License-Identifier: BSD-3-Clause
"""The VFs under test: opened when first needed, opened anew after anything went wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from iavfio import pyvfio, resources
from iavfio.datapath.pool import Pool
from iavfio.datapath.queues import RxQueue, TxQueue
from iavfio.opening import is_pci, open_port
from iavfio.port.port import Port
from iavfio.port.settings import Settings
from iavfio.pyvfio import Device
from iavfio.qualify.frames import frame, number_of
from iavfio.qualify.outcome import Failed, NotRun
from iavfio.qualify.records import Record

LINK = 5.0  # seconds until a link must be up
ARRIVAL = 2.0  # seconds in which frames of a switch or a wire arrive
ABSENCE = 0.15  # seconds after which a frame that was not to arrive did not
STEP = 0.0005
BURST = 32
WINDOW = 64  # frames on their way at most: rings hold them even in pieces
LOST = 0.3  # seconds after which frames on their way are taken for lost
BUFFERS = 32768  # two VFs with 16 rings of 512, and as many on their way
Received = tuple[int, bytes, int]  # queue, frame, RSS hash (0 without the column)
DEFAULTS = Settings()
PLAIN: dict[str, Any] = {
    "queues": 1,
    "ring": 512,
    "mtu": 1500,
    "metadata": (),
    "mac": "auto",
    "extra_macs": (),
    "promiscuous": False,
    "all_multicast": False,
    "rss": DEFAULTS.rss,
    "isa": "auto",
    "descriptors": "auto",
}


class Vfs:
    """One VF whose wire sends back, or two that reach each other.

    Frames go from `sender` to `receiver`, which with one VF is the same port.
    """

    def __init__(self, targets: Sequence[str], arguments: Mapping[str, Any]) -> None:
        self.targets = tuple(map(resources.resolved, targets))
        found = filter(None, map(resources.find, targets))
        self._tokens = {resource.address: resource.token for resource in found}
        self.records = [Record(target) for target in self.targets]
        self.soak = 0.0
        self.tell: Callable[[str], None] = lambda text: None  # how far a long check has come
        self._arguments = dict(arguments)
        self._pool = Pool(BUFFERS, contiguous=bool(arguments.get("unsafe_noiommu")))
        self._ports: list[Port] = []
        self._way: str | None = None  # why frames have no way; "" once they were seen to arrive

    # ---- opening

    @property
    def ports(self) -> list[Port]:
        """All ports, opened. Raises what `iavfio.open` raises, and leaves none open then."""
        if any(port.state in ("failed", "closed") for port in self._ports):
            self.close()
        if not self._ports:
            with ExitStack() as opened:
                ports = [
                    opened.enter_context(open_port(vf, pool=self._pool, **self._opening(vf)))
                    for vf in self.targets
                ]
                opened.pop_all()
            self._ports = ports
        return self._ports

    def device(self, target: str) -> Device:
        """The device of a VF that has no port, opened as its port would be."""
        return pyvfio.open(target, **self._opening(target))

    def _opening(self, target: str) -> dict[str, Any]:
        """How a VF is opened: with its resource's token, where no other is given.

        The arguments belong to PCI devices alone.
        """
        if not is_pci(target):
            return {}
        if self._arguments.get("vf_token") is None:
            return self._arguments | {"vf_token": self._tokens.get(target)}
        return self._arguments

    @property
    def sender(self) -> Port:
        """The first VF."""
        return self.ports[0]

    @property
    def receiver(self) -> Port:
        """The last VF."""
        return self.ports[-1]

    def close(self) -> None:
        """Keeps what the bundle tells of the ports and closes them; the next use opens them.

        Raises nothing: what a port that died does not tell is named in the bundle.
        """
        ports, self._ports = self._ports, []
        for record, port in zip(self.records, ports, strict=False):
            record.attempt(partial(record.keep, port))
            record.attempt(port.close)

    @property
    def pool(self) -> Pool:
        """The buffers of all ports."""
        return self._pool

    # ---- running

    def start(self, **settings: Any) -> tuple[Port, Port]:
        """Starts the ports with these settings and plain ones for the rest; sender and receiver.

        Raises Failed when a link stays down.
        """
        for port in self.ports:
            port.stop()
            changes = PLAIN | settings
            if "mtu" not in settings:
                changes["mtu"] = min(PLAIN["mtu"], port.control.limits.mtu)
            port.configure(**changes)
        for port in self.ports:
            port.start()
        for port in self.ports:
            if not port.wait_link(LINK).up:
                raise Failed(f"the link of {port.name} did not come up within {LINK:g} s")
        return self.sender, self.receiver

    def stop(self) -> None:
        """Stops the ports that are open."""
        for port in self._ports:
            if port.state == "running":
                port.stop()

    def way(self) -> None:
        """Makes sure that frames arrive at all. Raises NotRun where they have no way."""
        if self._way is None:
            sender, receiver = self.start()
            got = exchange(
                sender.tx[0], receiver.rx, [frame(receiver.mac, sender.mac, 0)], ARRIVAL, least=1
            )
            self._way = ""
            if not got:
                self._way = (
                    "a frame that the VF sent to itself did not come back; name a second VF of "
                    "the same PF"
                    if len(self.targets) == 1
                    else "no frame reaches the second VF; are both of one PF and one VLAN?"
                )
        if self._way:
            raise NotRun(self._way)

    def arrives(self, data: bytes) -> bool:
        """Whether a frame that the sender sends comes to the receiver."""
        return bool(exchange(self.sender.tx[0], self.receiver.rx, [data], ABSENCE, least=1))


def exchange(
    queue: TxQueue,
    listen: Sequence[RxQueue],
    frames: Sequence[bytes],
    seconds: float = ARRIVAL,
    least: int | None = None,
    hashes: bool = False,
) -> list[Received]:
    """Sends `frames` and collects those of them that arrive within `seconds` after the last.

    No more than WINDOW frames are on their way, so that no ring overflows.

    Ends early when `least` different ones have arrived (default all); one that came twice is there
    twice. Frames of others are left out.
    `hashes`: the receivers fill the column rss.
    Raises Failed when the device takes no frame for `seconds`.
    """
    wanted = len(frames) if least is None else least
    got: list[Received] = []
    arrived: set[bytes] = set()
    position, lost, end = 0, 0, time.monotonic() + seconds
    while len(arrived) < wanted or position < len(frames):
        now = time.monotonic()
        if position - len(arrived) - lost >= WINDOW and now > end - seconds + LOST:
            lost = position - len(arrived)
        if position < len(frames) and position - len(arrived) - lost < WINDOW:
            with queue.build(frames[position : position + BURST]) as burst:
                taken = queue.send(burst)
            position += taken
            if taken:
                end = time.monotonic() + seconds
        fresh = _collect(listen, hashes)
        got += fresh
        arrived.update(data for _, data, _ in fresh)
        if fresh:
            end = time.monotonic() + seconds
        if time.monotonic() > end:
            if position < len(frames):
                raise Failed(f"the device took {position} of {len(frames)} frames in {seconds:g} s")
            break
        if not fresh and position == len(frames):
            time.sleep(STEP)
    return got + _collect(listen, hashes)  # the last one may have come twice


def _collect(listen: Sequence[RxQueue], hashes: bool) -> list[Received]:
    got: list[Received] = []
    for queue in listen:
        with queue.recv() as burst:
            column = burst.rss.tolist() if hashes else [0] * len(burst)
            for i in range(len(burst)):
                data = b"".join(map(bytes, burst.segments_of(i)))
                if number_of(data) is not None:
                    got.append((queue.index, data, column[i]))
    return got
