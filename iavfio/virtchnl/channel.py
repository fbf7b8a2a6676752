# SPDX-License-Identifier: BSD-3-Clause
"""Requests and replies over the admin queue: one at a time, with deadlines, never mixed up.

A PF that is busy answers late. Once a request has waited for QUIET, a VERSION is sent behind it:
when the PF answers that one first, it has lost or ignores the request, and the wait ends; as long
as it answers neither, it is busy or dead, and the wait goes on until the request's deadline. What
was given up unanswered is in doubt, and the next request starts with a barrier (`doubt`).
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from iavfio._driver import lib
from iavfio.errors import (
    IavfioError,
    MailboxError,
    MailboxTimeout,
    ResetUnderWay,
)
from iavfio.pyvfio.eventfds import taken
from iavfio.virtchnl.adminq import COMPLETION, AdminQueue, Message
from iavfio.virtchnl.deadline import Deadline
from iavfio.virtchnl.doubt import Doubt
from iavfio.virtchnl.event_queue import EventQueue
from iavfio.virtchnl.journal import Journal
from iavfio.virtchnl.messages.events import EVENT, Event, decode_event
from iavfio.virtchnl.messages.message_type import PATIENT, AnyMessage
from iavfio.virtchnl.messages.names import opcode_name
from iavfio.virtchnl.messages.resources import VERSION, Version
from iavfio.virtchnl.status import refusal

ERRORS: Final = {  # counters of the queue that end no request
    "overflows": "the mailbox reports an overflow: an event of the PF may be lost",
    "vf_errors": "the device reports an error of the VF's mailbox",
}
QUIET: Final = 2.0  # seconds without a reply after which the PF is asked whether it is there
NAP: Final = 0.01  # longest sleep between two looks: a lost interrupt or a reset costs no more


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
    """Sends one request at a time; safe from any thread.

    `on_event` is called without any lock held, after the request during which an event came, so it
    may issue requests (docs/spec/reliability.md F14).
    `resetting` is asked while a request waits, and may end the wait early.
    `eventfd` belongs to vector 0 and `arm` re-enables that vector; without it waits are short naps.
    """

    pace: ClassVar[float] = 1.0  # multiplies all deadlines that callers do not give

    def __init__(
        self,
        queue: AdminQueue,
        journal: Journal,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        on_event: Callable[[Event], None] | None = None,
        resetting: Callable[[], bool] | None = None,
        eventfd: int | None = None,
        arm: Callable[[], None] | None = None,
    ) -> None:
        self.queue = queue
        self.journal = journal
        self.counters = ChannelCounters()
        self.on_event = on_event
        self._clock, self._sleep = clock, sleep
        self._probe_reset = resetting
        self._told: dict[str, int] = {}  # errors of the queue that were said, by counter
        self._eventfd, self._arm = eventfd, arm
        self._poll = select.poll()
        if eventfd is not None:
            self._poll.register(eventfd, select.POLLIN)
        self._lock = threading.Lock()
        self._events = EventQueue(journal)
        self._doubt = Doubt()
        self._latency = 0.0  # seconds that the PF took for its slowest replies of late
        self._began = 0.0  # when the exchange under way began
        self._broken = 0  # critical errors since the last reply
        self._logged = -1.0
        self._unlogged = 0
        self.give_way: Callable[[], bool] | None = None  # whether a late request shall be given up
        self.deadline = Deadline(clock=clock)  # of the operation under way: no request outlasts it

    @property
    def suspect(self) -> bool:
        """Whether a late reply may still come, so that the next request starts with a barrier.

        After a MailboxTimeout it is False when the PF answers, only not that request.
        """
        return self._doubt.open or self.queue.critical

    @property
    def needs_reset(self) -> bool:
        """Whether setting the queue up anew did not help, so that only a VF reset is left.

        See docs/spec/reliability.md F11.
        """
        return self._broken > 1

    def restart(self) -> None:
        """Sets the queue up after a reset: nothing of the time before counts any more.

        Undelivered events are dropped: they tell of the past (docs/spec/reliability.md F23). Raises
        as AdminQueue.start does.
        """
        with self._lock:
            self.queue.start()
            self._doubt.clear()
            self._broken = 0
            self._events.clear()
            self.journal.note("admin queue started")

    @property
    def patience(self) -> float:
        """Seconds that a reply may need, by what the PF took of late; near 0 for a fast PF."""
        return min(2 * self._latency, PATIENT * self.pace)

    def deadline_of(self, message: AnyMessage) -> float:
        """Returns how many seconds a message's reply is waited for.

        A PF that has been slow of late gets more time, up to PATIENT, for what others wait for too.
        """
        return max(message.deadline * self.pace, self.patience)

    def request(
        self, message: AnyMessage, payload: bytes = b"", deadline: float | None = None
    ) -> bytes:
        """Sends a request and returns the payload of its reply, whose length is checked.

        `deadline` is in seconds and defaults to the message's. Raises PfRefused (the PF said no),
        MailboxTimeout (no reply before the deadline, or the PF answered what was asked later),
        MailboxError (a malformed reply, a broken queue), ResetUnderWay or DeviceLost.
        """
        limit = self.deadline_of(message) if deadline is None else deadline
        if self.deadline.over:
            raise MailboxTimeout(
                f"no time is left to ask the PF for {message.name}",
                "what came before took all the time that the operation may take",
                "reset the VF; the journal tells what the PF did not answer",
            )
        limit = self.deadline.within(limit)
        end = self._clock() + limit
        self._take_lock(message, limit)
        try:
            reply = self._exchange(message, payload, end, limit)
        finally:
            self._lock.release()
            self._events.deliver(self.on_event)
        if reply.status:
            self.counters.refused += 1
            raise refusal(message, reply.status, payload)
        return reply.payload

    def post(self, message: AnyMessage, payload: bytes = b"") -> None:
        """Sends a message that gets no reply (RESET_VF). Raises as `request` does."""
        limit = self.deadline.within(QUIET * self.pace)
        self._take_lock(message, limit)
        try:
            self._settle()
            self._send(message, payload, self._clock() + limit)
        finally:
            self._lock.release()
            self._events.deliver(self.on_event)

    def service(self) -> None:
        """Takes what came without a request: events. For whoever watches vector 0.

        Does nothing while a request is outstanding, since that one takes events too.
        """
        if self._lock.acquire(blocking=False):
            try:
                self._drain()
                self._check()
            finally:
                self._lock.release()
        self._events.deliver(self.on_event)

    # One request

    def _take_lock(self, message: AnyMessage, deadline: float) -> None:
        if not self._lock.acquire(timeout=max(deadline, 0.0)):
            raise MailboxTimeout(
                f"{message.name} waited {deadline:g} s for another request to end",
                "that request's reply is late",
                "try again",
            )

    def _exchange(self, message: AnyMessage, payload: bytes, end: float, limit: float) -> Message:
        self._began = self._clock()
        self._settle()
        self._drain()
        if self._doubt.open and message is not VERSION:
            self._barrier(end)
            self._drain()
        if self._doubt.due and message is not VERSION:
            self._await_versions(end)
        self.counters.requests += 1
        began = self._clock()
        try:
            if message is not VERSION:
                self._doubt.request_sent()
            self._send(message, payload, end)
            reply = self._await(message, end, limit)
        except BaseException as error:
            # The reply may still come, after Ctrl-C in the middle of a wait as well.
            self._give_up(message, error)
            raise
        self._broken = 0
        self._latency = max(self._clock() - began, 0.75 * self._latency)
        self.counters.replies += 1
        if message is not VERSION:
            self._doubt.request_answered()
        if not reply.status:
            self._check_length(message, reply)
        return reply

    def _check_length(self, message: AnyMessage, reply: Message) -> None:
        fault = message.reply.fault(reply.length)
        if reply.length != len(reply.payload):
            fault = f"it claims {reply.length} bytes"
        if fault:
            self.counters.malformed += 1
            raise message.malformed(fault)

    def _check(self) -> None:
        """Looks for error bits and a reset; says what no request ends for."""
        try:
            self.queue.check()
        finally:
            self._tell_errors()

    def _tell_errors(self) -> None:
        """Says which errors the device has reported, the more rarely the more there are."""
        for name, text in ERRORS.items():
            count, told = getattr(self.queue.counters, name), self._told.get(name, 0)
            self._told[name] = count
            if count.bit_length() > told.bit_length():
                self.journal.note(f"{text} ({count} so far)", logging.WARNING)

    def _settle(self) -> None:
        """Sets the queue up anew after a critical error; a reset is noticed here at the latest."""
        self._check()
        if self.queue.critical:
            self.journal.note("critical error: admin queue is set up anew", logging.WARNING)
            self.queue.start()

    def _send(self, message: AnyMessage, payload: bytes, end: float) -> None:
        self.journal.sent(message.number, payload)
        if message is VERSION:
            self._doubt.version_sent(self._clock())
        within = min(COMPLETION, max(end - self._clock(), 0.0))
        self.queue.send(lib.AQ_SEND_MSG_TO_PF, payload, message=message.number, completion=within)

    def _await(self, message: AnyMessage, end: float, limit: float) -> Message:
        """Returns the first reply to `message`; events and strays are dealt with on the way."""
        nap = 0.0
        quiet = self._clock() + max(QUIET * self.pace, 2 * self._latency)
        while True:
            reply = self._drain(message)
            if reply is not None:
                return reply
            if self._doubt.passed and message is not VERSION:
                self.counters.timeouts += 1
                raise MailboxTimeout(
                    f"the PF did not answer {message.name}, but what was asked after it",
                    "it lost the request, or ignores it",
                    "try again; if that does not help reset the VF",
                )
            self._probe(message)
            now = self._clock()
            if now >= end:
                self.counters.timeouts += 1
                raise MailboxTimeout(
                    f"the PF did not answer {message.name} within {limit:g} s",
                    "it is busy or resets this VF; i40e stays silent after malicious driver "
                    "detection",
                    "reset the VF (FLR); the host's dmesg tells why",
                )
            if now >= quiet:
                self.journal.note(
                    f"no answer to {message.name} yet: is the PF there?", logging.WARNING
                )
                self._ask_version(end)
                quiet = end
            nap = self._wait(nap, min(quiet, end) - now)

    def _drain(self, wanted: AnyMessage | None = None) -> Message | None:
        """Takes all that has come; returns the first message of the type `wanted`."""
        reply: Message | None = None
        try:
            messages = self.queue.receive()
        finally:
            self._tell_errors()
        for message in messages:
            due = message.opcode == VERSION.number and self._doubt.version_came()
            if message.opcode == EVENT.number:
                self._event(message)
            elif wanted is not None and message.opcode == wanted.number and reply is None:
                reply = message
                self._matched(message)
                self.journal.received(message.opcode, message.status, message.payload)
            elif due:
                self.journal.received(message.opcode, message.status, message.payload, "late")
            else:
                self._stray(message)
        return reply

    def _matched(self, message: Message) -> None:
        """Hears of a reply before anything that came after it is looked at."""

    def _give_up(self, message: AnyMessage, error: BaseException) -> None:
        """Remembers that a reply may still come."""
        why = error.what if isinstance(error, IavfioError) else type(error).__name__
        self.journal.note(f"{message.name} given up: {why}", logging.INFO)
        if message is not VERSION:
            self._doubt.request_given_up()
        self._broken += self.queue.critical

    def _ask_version(self, end: float) -> None:
        (payload,) = VERSION.encode(0, Version(lib.VC_VERSION_MAJOR, lib.VC_VERSION_MINOR))
        self.counters.barriers += 1
        self._send(VERSION, payload, end)

    def _barrier(self, end: float) -> None:
        """Waits until no late reply can come any more, for half of the time left.

        Raises MailboxTimeout when the PF does not get so far; the next request tries again.
        """
        self.journal.note("barrier after a timeout")
        stop = (self._clock() + end) / 2
        nap, answered = 0.0, False
        while True:
            # Once more when the answer may have been to an older VERSION.
            if answered or self._doubt.wants_version(self._clock(), QUIET * self.pace):
                self._ask_version(stop)
            answered = self._drain(VERSION) is not None
            if not self._doubt.open:
                return
            self._probe(VERSION)
            left = stop - self._clock()
            if left <= 0:
                self.counters.timeouts += 1
                raise MailboxTimeout(
                    "the PF still does not answer, not even VERSION",
                    "it is busy, or i40e has silenced this VF after malicious driver detection",
                    "reset the VF (FLR); the host's dmesg tells why",
                )
            nap = self._wait(nap, left)

    def _await_versions(self, end: float) -> None:
        """Waits for late replies to VERSION, so that the PF has one message to work on at a time.

        They may have got lost, so the wait is bounded by what the PF took of late, and by half of
        the time left.
        """
        now = self._clock()
        stop = now + min(2 * self._latency, (end - now) / 2)
        nap = 0.0
        while self._doubt.due and self._clock() < stop:
            nap = self._wait(nap, stop - self._clock())
            self._drain()
            self._probe(VERSION)

    def _probe(self, message: AnyMessage) -> None:
        """Ends a wait that has become pointless, or holds up something more important."""
        late = self._clock() - self._began > self.patience  # a slow PF's reply is worth a wait
        if late and self.give_way is not None and self.give_way():
            raise MailboxTimeout(
                f"{message.name} was given up for another request",
                "the PF had not answered yet",
                "try again",
            )
        if self._probe_reset is not None and self._probe_reset():
            raise ResetUnderWay(f"the VF was reset during {message.name}")
        self._check()
        if self.queue.critical:
            raise MailboxError(
                f"the admin queue failed during {message.name}",
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
            taken(self._eventfd)  # by another reader perhaps; the ring is looked at anyway
        return 0.0

    # Events and strays

    def _event(self, message: Message) -> None:
        try:
            if message.status:
                raise EVENT.malformed(f"its status is {message.status}")
            if message.length != len(message.payload):
                raise EVENT.malformed(f"it claims {message.length} bytes")
            event = decode_event(message.payload, self.journal.adv_link_speed)
        except MailboxError as error:
            self.counters.bad_events += 1
            self.journal.received(EVENT.number, message.status, message.payload, "ignored")
            self._log(f"ignored an event: {error.cause}")
            return
        self.counters.events += 1
        self.counters.reset_notices += event.kind == "reset"
        self.journal.received(EVENT.number, 0, message.payload)
        self.counters.events_dropped += self._events.add(event)

    def _stray(self, message: Message) -> None:
        self.counters.unsolicited += 1
        self.journal.received(message.opcode, message.status, message.payload, "not asked for")
        self._log(f"ignored a message that nobody asked for: {opcode_name(message.opcode)}")

    def _log(self, text: str) -> None:
        """Logs at most one line a second, with the number of those between."""
        now = self._clock()
        if self._logged < 0 or now - self._logged >= 1.0:
            self.journal.warn(text, self._unlogged)
            self._logged, self._unlogged = now, 0
        else:
            self._unlogged += 1
