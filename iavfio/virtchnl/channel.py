# SPDX-License-Identifier: BSD-3-Clause
"""Requests and replies over the admin queue: one at a time, with deadlines, never mixed up.

virtchnl replies carry no transaction id, so a late reply could pass for that of a later request.
After a timeout a barrier closes that gap: the PF answers in order, so once it has answered a
VERSION sent after the doubtful request, no reply to the latter can follow (F2).
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from iavfio._driver import lib
from iavfio.errors import (
    DeviceLost,
    IavfioError,
    MailboxError,
    MailboxTimeout,
    ResetUnderWay,
)
from iavfio.virtchnl.adminq import COMPLETION, AdminQueue, Message
from iavfio.virtchnl.journal import Journal
from iavfio.virtchnl.messages import opcodes as op
from iavfio.virtchnl.messages.events import Event, decode_event
from iavfio.virtchnl.messages.resources import Version, encode_version
from iavfio.virtchnl.messages.wire import check_reply, malformed
from iavfio.virtchnl.status import refusal

DEADLINE = 2.0  # seconds for a reply (spec: adminq 9)
BARRIER = 1.0  # seconds, at most, for a barrier
NAP = 0.01  # longest sleep between two looks: a lost interrupt or a reset costs no more
EVENTS = 256  # undelivered events kept

log = logging.getLogger("iavfio.virtchnl")


@dataclass(slots=True)
class ChannelCounters:
    """What happened to messages, beside the queue's own counters."""

    requests: int = 0
    replies: int = 0
    refused: int = 0
    timeouts: int = 0
    barriers: int = 0
    malformed: int = 0  # replies that broke the protocol
    unsolicited: int = 0  # duplicates, late replies, opcodes that nobody asked for
    events: int = 0
    bad_events: int = 0
    events_dropped: int = 0
    reset_notices: int = 0


class Channel:
    """At most one request outstanding (F13); safe from any thread.

    `on_event` is called without any lock held, after the request during which an event came, so it
    may issue requests (F14). Events are delivered in order and never concurrently.
    `lost` and `resetting` are probes of somebody who watches the device; they end a wait early.
    `eventfd` belongs to vector 0 and `arm` re-enables that vector; without it waits are short naps.
    """

    def __init__(
        self,
        queue: AdminQueue,
        journal: Journal,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        on_event: Callable[[Event], None] | None = None,
        lost: Callable[[], bool] | None = None,
        resetting: Callable[[], bool] | None = None,
        eventfd: int | None = None,
        arm: Callable[[], None] | None = None,
    ) -> None:
        self.queue = queue
        self.journal = journal
        self.counters = ChannelCounters()
        self.on_event = on_event
        self._clock, self._sleep = clock, sleep
        self._probe_lost, self._probe_reset = lost, resetting
        self._eventfd, self._arm = eventfd, arm
        self._poll = select.poll()
        if eventfd is not None:
            os.set_blocking(eventfd, False)  # another reader may empty it between poll and read
            self._poll.register(eventfd, select.POLLIN)
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._event_lock = threading.Lock()
        self._delivering = False
        self._doubt: set[int] = set()  # requests that may still be answered
        self._versions_due = 0  # VERSION requests that may still be answered
        self._versions_old = 0  # of these, the ones sent before the last doubtful request
        self._broken = 0  # critical errors since the last reply
        self._logged = -1.0

    @property
    def suspect(self) -> bool:
        """Whether the next request starts with a barrier."""
        return bool(self._doubt) or self.queue.critical

    @property
    def needs_reset(self) -> bool:
        """Whether setting the queue up anew did not help: only a VF reset is left (F11)."""
        return self._broken > 1

    def restart(self) -> None:
        """Sets the queue up after a reset: nothing of the time before counts any more.

        Undelivered events are dropped: they tell of the past (F23). Raises like AdminQueue.start.
        """
        with self._lock:
            self.queue.start()
            self._doubt.clear()
            self._versions_due = self._versions_old = self._broken = 0
            with self._event_lock:
                self._events.clear()
            self.journal.note("admin queue started")

    def request(self, opcode: int, payload: bytes = b"", deadline: float = DEADLINE) -> bytes:
        """Sends a request and returns the payload of its reply, whose length is checked.

        Raises PfRefused (the PF said no), MailboxTimeout (no reply within `deadline` seconds),
        MailboxError, ResetUnderWay, DeviceLost.
        """
        end = self._clock() + deadline
        self._take_lock(opcode, deadline)
        try:
            reply = self._exchange(opcode, payload, end, deadline)
        finally:
            self._lock.release()
            self._deliver()
        if reply.status:
            self.counters.refused += 1
            raise refusal(opcode, reply.status)
        return reply.payload

    def post(self, opcode: int, payload: bytes = b"") -> None:
        """Sends a message that gets no reply (RESET_VF). Raises like `request`."""
        self._take_lock(opcode, DEADLINE)
        try:
            self._settle()
            self._send(opcode, payload, self._clock() + DEADLINE)
        finally:
            self._lock.release()
            self._deliver()

    def service(self) -> None:
        """Takes what came without a request: events. For whoever watches vector 0.

        Does nothing while a request is outstanding: that one takes events too.
        """
        if self._lock.acquire(blocking=False):
            try:
                self._drain()
                self.queue.check()
            finally:
                self._lock.release()
        self._deliver()

    # One request

    def _take_lock(self, opcode: int, deadline: float) -> None:
        if not self._lock.acquire(timeout=max(deadline, 0.0)):
            raise MailboxTimeout(
                f"{op.opcode_name(opcode)} waited {deadline:g} s for another request to end"
            )

    def _exchange(self, opcode: int, payload: bytes, end: float, deadline: float) -> Message:
        self._settle()
        self._drain()
        if self._doubt and opcode != op.VERSION:
            self._barrier(end)
            self._drain()
        self.counters.requests += 1
        try:
            self._send(opcode, payload, end)
            reply = self._await(opcode, end, deadline)
        except BaseException as error:
            # Also after Ctrl-C in the middle of a wait: the reply may still come.
            self._give_up(opcode, error)
            raise
        self._broken = 0
        self.counters.replies += 1
        if opcode != op.VERSION:
            self._versions_due = self._versions_old = 0  # the PF is past all that came before
        if not reply.status:
            try:
                if reply.length != len(reply.payload):
                    raise malformed(opcode, f"it claims {reply.length} bytes")
                check_reply(opcode, reply.length)
            except MailboxError:
                self.counters.malformed += 1
                raise
        return reply

    def _settle(self) -> None:
        """Sets the queue up anew after a critical error; a reset is noticed here at the latest."""
        self.queue.check()
        if self.queue.critical:
            self.journal.note("critical error: admin queue is set up anew")
            self.queue.start()

    def _send(self, opcode: int, payload: bytes, end: float) -> None:
        self.journal.sent(opcode, payload)
        self._versions_due += opcode == op.VERSION
        within = min(COMPLETION, max(end - self._clock(), 0.0))
        self.queue.send(lib.AQ_SEND_MSG_TO_PF, payload, message=opcode, completion=within)

    def _await(self, opcode: int, end: float, deadline: float) -> Message:
        """The first reply to `opcode`; events and strays are dealt with on the way."""
        nap = 0.0
        while True:
            reply = self._drain(opcode)
            if reply is not None:
                return reply
            self._probe(opcode)
            left = end - self._clock()
            if left <= 0:
                self.counters.timeouts += 1
                raise MailboxTimeout(
                    f"the PF did not answer {op.opcode_name(opcode)} within {deadline:g} s",
                    "it is busy or resets this VF; i40e stays silent after malicious driver "
                    "detection",
                    "reset the VF (FLR); the host's dmesg tells why",
                )
            nap = self._wait(nap, left)

    def _drain(self, wanted: int = 0) -> Message | None:
        """Takes all that has come; returns the first message with opcode `wanted`."""
        reply: Message | None = None
        for message in self.queue.receive():
            if message.opcode == op.VERSION:
                self._version_came()
            if message.opcode == op.EVENT:
                self._event(message)
            elif wanted and message.opcode == wanted and reply is None:
                reply = message
                self._matched(message)
                self.journal.received(message.opcode, message.status, message.payload)
            else:
                self._stray(message)
        return reply

    def _matched(self, message: Message) -> None:
        """Told of a reply before anything that came after it is looked at."""

    def _give_up(self, opcode: int, error: BaseException) -> None:
        """Remembers that a reply may still come."""
        why = error.what if isinstance(error, IavfioError) else type(error).__name__
        self.journal.note(f"{op.opcode_name(opcode)} given up: {why}")
        if opcode != op.VERSION:
            self._doubt.add(opcode)
            self._versions_old = self._versions_due
        self._broken += self.queue.critical

    def _version_came(self) -> None:
        """A VERSION reply. One to a VERSION sent after the doubtful requests ends the doubt."""
        if not self._versions_due:
            return
        self._versions_due -= 1
        if self._versions_old:
            self._versions_old -= 1
        else:
            self._doubt.clear()

    def _barrier(self, end: float) -> None:
        """Waits until no doubtful request can be answered any more, for half of the time left.

        Raises MailboxTimeout when the PF does not get that far; the next request tries again.
        """
        self.counters.barriers += 1
        self.journal.note("barrier after a timeout")
        now = self._clock()
        stop = min(now + BARRIER, (now + end) / 2)
        nap, answered = 0.0, True
        while True:
            if answered:
                # Once more when the answer may have been to an older VERSION.
                self._send(op.VERSION, encode_version(Version(1, 1)), stop)
            answered = self._drain(op.VERSION) is not None
            if not self._doubt:
                return
            self._probe(op.VERSION)
            left = stop - self._clock()
            if left <= 0:
                self.counters.timeouts += 1
                raise MailboxTimeout(
                    "the PF still does not answer, not even VERSION",
                    "it is busy, or i40e has silenced this VF after malicious driver detection",
                    "reset the VF (FLR); the host's dmesg tells why",
                )
            nap = self._wait(nap, left)

    def _probe(self, opcode: int) -> None:
        """Ends a wait that has become pointless."""
        name = op.opcode_name(opcode)
        if self._probe_lost is not None and self._probe_lost():
            raise DeviceLost(f"the VF went away during {name}", "", "open it again when it is back")
        if self._probe_reset is not None and self._probe_reset():
            raise ResetUnderWay(f"the VF was reset during {name}")
        self.queue.check()
        if self.queue.critical:
            raise MailboxError(
                f"the admin queue failed during {name}",
                "the device reports a critical ring or DMA error",
                "the queue is set up anew at the next request; if it fails again reset the VF",
            )

    def _wait(self, nap: float, left: float) -> float:
        """Sleeps until vector 0 fires or a nap is over; returns the length of the next nap."""
        if self._eventfd is None:
            if nap:
                self._sleep(min(nap, left))
            return min(nap * 2, 1e-3) or 5e-5
        if self._arm is not None:
            self._arm()
        if self._poll.poll(min(NAP, left) * 1e3):
            try:
                os.read(self._eventfd, 8)
            except BlockingIOError:
                pass  # another reader was faster; the ring is looked at anyway
        return 0.0

    # Events and strays

    def _event(self, message: Message) -> None:
        try:
            if message.status:
                raise malformed(op.EVENT, f"its status is {message.status}")
            if message.length != len(message.payload):
                raise malformed(op.EVENT, f"it claims {message.length} bytes")
            event = decode_event(message.payload, self.journal.adv_link_speed)
        except MailboxError as error:
            self.counters.bad_events += 1
            self.journal.received(op.EVENT, message.status, message.payload, "ignored")
            self._log("ignored an event: %s", error.cause)
            return
        self.counters.events += 1
        self.counters.reset_notices += event.kind == "reset"
        self.journal.received(op.EVENT, 0, message.payload)
        with self._event_lock:
            if len(self._events) == EVENTS:
                self._events.popleft()
                self.counters.events_dropped += 1
            self._events.append(event)

    def _stray(self, message: Message) -> None:
        self.counters.unsolicited += 1
        self.journal.received(message.opcode, message.status, message.payload, "not asked for")
        self._log("ignored a message that nobody asked for: %s", op.opcode_name(message.opcode))

    def _log(self, text: str, what: str) -> None:
        """At most one line a second (F3)."""
        now = self._clock()
        if self._logged < 0 or now - self._logged >= 1.0:
            self._logged = now
            log.warning(text, what)

    def _deliver(self) -> None:
        """Calls `on_event` for what is queued, unless another call does so already."""
        while True:
            with self._event_lock:
                if self._delivering or not self._events or self.on_event is None:
                    return
                self._delivering = True
                event = self._events.popleft()
            try:
                self.on_event(event)
            except Exception as error:
                # The request that brought the event must not fail for what its receiver does.
                self.journal.note(f"handling {event} failed: {type(error).__name__}")
                log.exception("handling %s failed", event)
            finally:
                with self._event_lock:
                    self._delivering = False
