# SPDX-License-Identifier: BSD-3-Clause
"""Which late replies may still come.

virtchnl replies carry no transaction id, so a late reply could pass for that of a later request.
The PF answers in order: once it has answered a VERSION that was sent after a request, no reply to
that request can follow any more. A VERSION is therefore a barrier
(docs/spec/reliability.md F2).
"""

from __future__ import annotations


class Doubt:
    """Counts the VERSION messages under way before and after the last other request."""

    def __init__(self) -> None:
        self.open = False  # a request was given up and may still be answered
        self.passed = False  # the PF has answered a VERSION sent after the last other request
        self._before = self._after = 0  # unanswered VERSIONs, by their place
        self._sent = 0.0  # when the last of them was sent

    def clear(self) -> None:
        """Notes that the queue was set up anew: no reply from before can come any more."""
        self.open = self.passed = False
        self._before = self._after = 0

    def version_sent(self, now: float) -> None:
        """Notes that a VERSION is being sent, at the time `now`."""
        self._after += 1
        self._sent = now

    def request_sent(self) -> None:
        """Notes that a request other than VERSION is being sent."""
        self._before += self._after
        self._after = 0
        self.passed = False

    def request_answered(self) -> None:
        """Hears of that request's reply: the PF is past all that was sent before."""
        self._before = 0
        self.open = False

    def request_given_up(self) -> None:
        """Hears that nobody waits for that request's reply any more."""
        self.open = not self.passed

    def version_came(self) -> bool:
        """Hears of a VERSION reply; returns whether one was due."""
        if self._before:
            self._before -= 1
            return True
        if not self._after:
            return False
        self._after -= 1
        self.passed = True
        self.open = False
        return True

    @property
    def due(self) -> bool:
        """Whether the PF still owes a reply to a VERSION."""
        return bool(self._before or self._after)

    def wants_version(self, now: float, patience: float) -> bool:
        """Says whether a VERSION should be sent to end the doubt.

        One that is under way will do for `patience` seconds, two for twice as long, and so on: a
        PF that is slow must not be given more and more to do, and ice stops listening to a VF that
        floods its mailbox (docs/spec/reliability.md F13).
        """
        return now - self._sent >= patience * self._after or not self._after
