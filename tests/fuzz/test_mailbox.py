# SPDX-License-Identifier: BSD-3-Clause
"""The target `mailbox` gets along with its time: a PF that says nothing costs it next to none."""

from __future__ import annotations

import pytest

from iavfio.errors import MailboxTimeout
from iavfio.virtchnl.messages.resources import VERSION
from tests.virtchnl.fake_mailbox import VERSION_1_1, Bench, Leaps, Reply


def test_a_wait_in_vain_takes_few_looks_and_its_time() -> None:
    clock = Leaps()
    bench = Bench(lambda opcode, payload: [], clock=clock)
    bench.pf.after_send = clock.happened
    begin, looks = clock.now, _counted(bench)
    with pytest.raises(MailboxTimeout):
        bench.client.version()
    limit = bench.client.deadline_of(VERSION)
    assert limit <= clock.now - begin <= 1.4 * limit
    assert len(looks) < 1000


def test_a_planned_reply_comes_at_its_time() -> None:
    clock = Leaps()
    bench = Bench(lambda opcode, payload: [Reply(1, payload=VERSION_1_1, delay=0.3)], clock=clock)
    bench.pf.after_send = clock.happened
    begin, looks = clock.now, _counted(bench)
    assert bench.client.version().major == 1
    assert 0.3 <= clock.now - begin < 0.31
    assert len(looks) < 500


def _counted(bench: Bench) -> list[int]:
    """The registers that are read from here on."""
    looks: list[int] = []
    read = bench.pf.read32

    def counted(offset: int) -> int:
        looks.append(offset)
        return read(offset)

    bench.pf.read32 = counted  # type: ignore[method-assign]
    return looks
