# SPDX-License-Identifier: BSD-3-Clause
"""A generator: streams out of one port, counted exactly, and received by another."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from iavfio.arguments import Instance, counted, several
from iavfio.bench.plan import NOBODY
from iavfio.capture.losses import losses
from iavfio.capture.sending import (
    HURRIED,
    PF_SECONDS,
    Sending,
    lost,
    on_wire,
    own_on_wire,
    sample,
)
from iavfio.datapath.pair import FCS
from iavfio.errors import ConfigError, IavfioError
from iavfio.generator import signature
from iavfio.generator.answers import Answers, ends_of, gateway, next_hops
from iavfio.generator.crafting import CHUNK, Crafted, craft
from iavfio.generator.receiver import QUIET, Receiver
from iavfio.generator.result import Generated, StreamCounts
from iavfio.generator.schedule import SECOND, Chunk, Pace, Schedule
from iavfio.generator.shortfall import Effort, shortfall
from iavfio.generator.stream import Stream
from iavfio.port.bounds import Finishing
from iavfio.port.draining import drain
from iavfio.port.limits import room_for
from iavfio.port.port import Port
from iavfio.port.preflight import Journey, check_journey, check_link
from iavfio.ranges import LIMIT, SECONDS
from iavfio.signatures import checked_call
from iavfio.stats import Snapshot

MOST_STREAMS = 64
SETTLING = 5.0  # seconds that a device and its PF have for what was sent last
STEP = 0.02
GATEWAY_SECONDS = 3.0
MEETING = 1.0  # seconds in which a router asks for what it does not know
STREAM = Instance(Stream, 'Stream(dst_ip="198.19.0.1")')

Progress = Callable[[float, int], None]


@dataclass(frozen=True)
class _Sent:
    """What each stream has sent: before the chunk in hand, and with as much of it as has gone.

    `full`: tries before this chunk that found the send ring full.
    """

    packets: tuple[int, ...]
    bytes: tuple[int, ...]
    chunk: Chunk | None = None
    sending: Sending | None = None
    full: int = 0

    @property
    def all_full(self) -> int:
        """Tries that found the send ring full, with those of the chunk in hand."""
        return self.full + (0 if self.sending is None else self.sending.counts.full)


class Generator:
    """Sends streams on queue 0 of a running port, in one order that their rates give.

    `expect`: a running port, which may be the same, at which the frames should arrive; each packet
    is then known there by its signature. `answer`: the port answers ARP requests, neighbour
    solicitations and echo requests for the streams' source addresses, and `expect` for their
    destinations. `gateways`: addresses of the next router, at most one for each IP version, whose
    MAC address streams get that name none; each has `gateway_seconds` to answer. Frames are built
    here, once. Raises ConfigError for streams that the port cannot send, or that the receiver could
    not tell, and IavfioError for a gateway that does not answer.
    """

    @checked_call
    def __init__(
        self,
        port: Port,
        streams: Sequence[Stream],
        *,
        expect: Port | None = None,
        answer: bool = False,
        gateways: Sequence[str] = (),
        gateway_seconds: float = GATEWAY_SECONDS,
    ) -> None:
        given = [
            STREAM(f"streams[{i}]", each)
            for i, each in enumerate(several("streams", streams, "streams"))
        ]
        if not 1 <= len(given) <= MOST_STREAMS:
            raise ConfigError(
                f"{len(given)} streams are not possible", f"a run has 1 to {MOST_STREAMS}"
            )
        self.port, self.expect = port, expect
        self.streams = tuple(given)
        self.names = _names(given)
        self._run = secrets.randbelow(1 << 16)
        self._answers = _answers(port, expect, given) if answer else []
        hops = next_hops(
            port, given, [gateway(each) for each in gateways], gateway_seconds, self._answers
        )
        peer = NOBODY if expect is None else expect.mac
        self.crafted = [
            craft(stream, i, self._run, port.mac, hop or peer)
            for i, (stream, hop) in enumerate(zip(given, hops, strict=True))
        ]
        for name, stream, crafted in zip(self.names, given, self.crafted, strict=True):
            _check_length(name, crafted, port, expect)
            if expect is not None and not stream.signed:
                raise ConfigError(
                    f"stream {name} cannot be counted by a receiver",
                    "frames of a template are sent as they are, without a signature",
                    "send it without a receiver: the PF's counters tell what is on the wire",
                )
        self.pps = [
            stream.recipe.rate.pps(float(crafted.lengths.mean()), port.link.mbps)
            for stream, crafted in zip(given, self.crafted, strict=True)
        ]
        self._schedule = Schedule(
            [
                Pace(pps, stream.burst, stream.count)
                for pps, stream in zip(self.pps, given, strict=True)
            ]
        )
        sizes = [len(crafted.data) for crafted in self.crafted]
        self._bases = [sum(sizes[:i]) for i in range(len(sizes))]
        self._data = np.concatenate([crafted.data for crafted in self.crafted])
        self.crafted = [  # in the one array, of which C reads
            replace(crafted, data=self._data[base : base + size])
            for crafted, base, size in zip(self.crafted, self._bases, sizes, strict=True)
        ]
        self._lengths = [crafted.lengths.astype(np.int64) for crafted in self.crafted]
        self._sent = _Sent((0,) * len(given), (0,) * len(given))

    def preflight(self) -> None:
        """Sends the shortest and the longest frame of each stream. Raises IavfioError for the first
        that would vanish, with what mends it; also when a link is down.
        """
        for port in {id(each): each for each in (self.port, self.expect) if each}.values():
            check_link(port)
        if self._answers:
            self._meet()
        probes = self._run ^ 1  # another run, so that they are not counted in this one
        for i, (stream, crafted) in enumerate(zip(self.streams, self.crafted, strict=True)):
            ends = {int(crafted.lengths.argmin()), int(crafted.lengths.argmax())}
            for index in sorted(ends):
                frame, mark = bytearray(crafted[index]), None
                if stream.signed:
                    tail = np.frombuffer(frame, np.uint8)[None, -signature.BYTES :]
                    signature.write(tail, np.zeros(1, np.int64), probes, i)
                    mark = tail.tobytes()
                check_journey(
                    Journey(
                        self.port,
                        bytes(frame),
                        self.expect,
                        mark,
                        keep_src="leave src_mac out",
                        keep_dst="leave dst_mac out",
                    )
                )

    def _meet(self) -> None:
        """Sends a frame of each stream and answers who asks: a router that does not know where the
        first one goes drops it, and asks.
        """
        self.port.tx[0].send([crafted[0] for crafted in self.crafted])
        end = quiet = time.monotonic() + MEETING
        while time.monotonic() < min(end, quiet):
            if sum(answers.poll() for answers in self._answers):
                quiet = time.monotonic() + MEETING / 5
            time.sleep(STEP / 10)

    @checked_call
    def run(
        self,
        duration: float | None = None,
        count: int = 0,
        progress: Progress | None = None,
    ) -> Generated:
        """Sends until every stream has sent its count, `count` packets are sent in all (0: no such
        end), `duration` seconds are over, or Ctrl-C. Once a generator.

        `progress(seconds, packets)` is called about once a second. Raises ConfigError for arguments
        that cannot be; nothing that has to do with the device or a signal: the result says so in
        `error` and `interrupted`.
        """
        if duration is not None:
            SECONDS("duration", duration)
        LIMIT("count", count)
        before = sample(self.port)
        before_there = None if self.expect is None else sample(self.expect)
        own = [answers for answers in self._answers if answers.port is self.port]
        answered = sum(answers.counts.sent for answers in own)
        ended_by, error = "", None
        ports = [self.port, *([] if self.expect is None else [self.expect])]
        finishing = Finishing(*(port.device for port in ports), seconds=PF_SECONDS)
        receiver = None
        with ExitStack() as stack:
            if self.expect is not None:
                receiver = stack.enter_context(self._receiver(self.expect))
            began, cpu = time.monotonic_ns(), time.thread_time()
            end = None if duration is None else began + int(duration * SECOND)
            try:
                ended_by = self._send(began, end, count, progress, own)
            except KeyboardInterrupt as signal:
                finishing.hasten(signal)
                ended_by = "signal"
            except IavfioError as trouble:
                error, ended_by = trouble, "error"
            seconds = (time.monotonic_ns() - began) / SECOND
            cpu = time.thread_time() - cpu
            packets, sizes = self._totals()
            full = self._sent.all_full
            self._sent = _Sent(packets, sizes)  # what was not sent returns to the pool
            unsent = finishing.take(
                lambda: drain(self.port, HURRIED if finishing.signal else SETTLING)
            )
            if receiver is not None:
                try:
                    receiver.wait(sum(packets), HURRIED if finishing.signal else QUIET)
                except KeyboardInterrupt as signal:  # somebody does not want the last ones
                    finishing.hasten(signal)
        answered = sum(answers.counts.sent for answers in own) - answered
        whole = sum(packets) + answered
        moved = finishing.take(
            lambda: self._settled(before, whole, 0.0 if finishing.signal else SETTLING)
        )
        missed = {}
        if self.expect is not None and before_there is not None:
            missed = losses(sample(self.expect).since(before_there))
        return Generated(
            streams=[
                StreamCounts.of(
                    name, packets[i], sizes[i], None if receiver is None else receiver.streams[i]
                )
                for i, name in enumerate(self.names)
            ],
            seconds=seconds,
            on_wire=max(own_on_wire(moved, whole) - answered, 0),
            lost=lost(moved),
            missed=missed,
            unsent=unsent,
            others=0 if receiver is None else receiver.others,
            resets=moved.resets,
            ended_by=ended_by,
            # After a signal a silent device is given up at once: no reason for another status.
            error=error or (None if receiver is None or finishing.signal else receiver.error),
            interrupted=finishing.signal,
            shortfall=shortfall(
                self._schedule.paces,
                packets,
                Effort(seconds, cpu, full, moved.resets, sum(packets)),
                ended_by in ("done", "count"),
            ),
            pf_age=moved.age,
            answered={answers.port.name: answers.counts for answers in self._answers},
        )

    def _receiver(self, port: Port) -> Receiver:
        there = [answers for answers in self._answers if answers.port is port]
        return Receiver(port, self._run, len(self.streams), there[0] if there else None)

    def _send(
        self,
        began: int,
        end: int | None,
        count: int,
        progress: Progress | None,
        own: Sequence[Answers],
    ) -> str:
        shown = began
        while True:
            packets, sizes = self._totals()
            most = min(CHUNK, count - sum(packets)) if count else CHUNK
            chunk = self._schedule.chunk(packets, most)
            if not len(chunk):
                return "count" if count and sum(packets) >= count else "done"
            sending = self._sending(chunk, began)
            self._sent = _Sent(packets, sizes, chunk, sending, self._sent.all_full)
            ended = ""
            while not ended:
                ended = sending.turn(end)
                for answers in own:
                    answers.poll()
                now = time.monotonic_ns()
                if progress is not None and now - shown >= SECOND:
                    shown = now
                    progress((now - began) / SECOND, sum(self._totals()[0]))
            if ended != "done":
                return ended

    def _settled(self, before: Snapshot, sent: int, seconds: float) -> Snapshot:
        """What the port's counters moved by, once the PF accounts for all that was sent.

        A PF counts a moment later than the device completes; waits at most so many seconds.
        """
        end = time.monotonic() + seconds
        while True:
            moved = sample(self.port).since(before)
            told = on_wire(moved) + sum(lost(moved).values())
            if told >= sent or moved.resets or time.monotonic() >= end:
                return moved
            time.sleep(STEP)

    def _sending(self, chunk: Chunk, began: int) -> Sending:
        """The chunk's frames with their numbers, on their way."""
        offsets = np.empty(len(chunk), dtype=np.uint64)
        lengths = np.empty(len(chunk), dtype=np.uint32)
        data = self._data
        for i, crafted in enumerate(self.crafted):
            here = np.flatnonzero(chunk.streams == i)
            frames = chunk.numbers[here] % len(crafted)
            offsets[here] = crafted.offsets[frames] + np.uint64(self._bases[i])
            lengths[here] = crafted.lengths[frames]
            if crafted.signatures is not None:
                signature.renumber(
                    data, crafted.signatures[frames] + self._bases[i], chunk.numbers[here]
                )
        due = None
        if chunk.due is not None:
            since = time.monotonic_ns() - began
            due = np.maximum(chunk.due - since, 0).astype(np.uint64)
        return Sending(self.port, 0, data, offsets, lengths, due)

    def _totals(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Packets and bytes of each stream that the device has taken so far."""
        state = self._sent
        if state.chunk is None or state.sending is None:
            return state.packets, state.bytes
        gone = state.sending.counts.sent
        streams, numbers = state.chunk.streams[:gone], state.chunk.numbers[:gone]
        packets, sizes = [], []
        for i, lengths in enumerate(self._lengths):
            mine = numbers[streams == i]
            packets.append(state.packets[i] + len(mine))
            sizes.append(state.bytes[i] + int(lengths[mine % len(lengths)].sum()))
        return tuple(packets), tuple(sizes)


def _answers(port: Port, expect: Port | None, streams: Sequence[Stream]) -> list[Answers]:
    """Who answers: the port for what the streams come from, the receiver for where they go."""
    if expect is port:
        raise ConfigError(
            "a port that receives its own frames cannot answer",
            "its queues belong to the receiver",
            "use two VFs, or leave answering out",
        )
    sources = ends_of(streams, "src_ip")
    if not sources:
        raise ConfigError(
            "there is no address to answer for",
            "no stream has IP headers that are built here",
            "leave answering out",
        )
    found = [Answers(port, sources)]
    if expect is not None:
        found.append(Answers(expect, ends_of(streams, "dst_ip")))
    return found


def longest(streams: Sequence[Stream]) -> int:
    """Bytes of the longest frame of the streams, without FCS."""
    found = []
    for stream in streams:
        recipe = stream.recipe
        if recipe.template is not None:
            found.append(int(recipe.template.lengths.max()))
        else:
            found.append(recipe.size.highest - FCS)
    return max(found)


def _names(streams: Sequence[Stream]) -> list[str]:
    """A name for each stream: its own, or its number. Raises ConfigError for two of one name."""
    names = [stream.name or f"stream{i}" for i, stream in enumerate(streams)]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two streams are named {name}", "results are told by name")
    return names


def _check_length(name: str, crafted: Crafted, port: Port, expect: Port | None) -> None:
    size = int(crafted.lengths.max())
    for each, does in ((port, "sends"), (expect, "receives")):
        if each is not None and size > each.settings.frame:
            raise ConfigError(
                f"stream {name} has frames of {size + FCS} bytes",
                f"{each.name} {does} {counted(each.settings.frame + FCS, 'byte')} at most, "
                "with FCS, for its MTU",
                room_for(size, each.name, each.control.limits),
            )
