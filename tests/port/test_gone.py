# SPDX-License-Identifier: BSD-3-Clause
"""A port that is closed, or has lost its device: each call says which."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import iavfio
from iavfio import DeviceLost, StateError
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.port.rig import until


@pytest.fixture
def lost() -> Iterator[Port]:
    pf = iavfio.softvf()
    with pf.open() as port:
        port.start(wait_link=10)
        pf.close()
        assert until(lambda: port.state == "failed")
        yield port


@pytest.fixture
def closed() -> Iterator[Port]:
    with iavfio.softvf() as pf:
        with pf.open() as port:
            port.start(wait_link=10)
        yield port


def test_counters_cannot_be_refreshed_without_a_device(lost: Port) -> None:
    with pytest.raises(DeviceLost, match=r"the device of port vf0 is gone\n.*open it again"):
        lost.refresh_stats()


def test_counters_of_a_closed_port_cannot_be_refreshed(closed: Port) -> None:
    with pytest.raises(StateError, match=r"the port was closed\n.*iavfio\.open") as caught:
        closed.refresh_stats()
    assert not isinstance(caught.value, DeviceLost)


def test_notes_and_events_say_that_the_device_is_gone() -> None:
    pf: SoftPf = iavfio.softvf()
    with pf.open() as port:
        told: list[tuple[str, str]] = []
        port.on_event.append(lambda event: told.append((event.kind, event.text)))
        port.start(wait_link=10)
        pf.close()
        assert until(lambda: ("lost", "the device is gone") in told)
        assert [note.splitlines()[0] for note in port.notes] == ["the device is gone"]
        assert "open it again" in port.notes[0]
    assert [kind for kind, _ in told if kind in ("lost", "failed", "note")] == ["lost"]


def test_the_note_of_a_failure_ends_when_the_port_works_again() -> None:
    with iavfio.softvf(options={"reset_ms": 1}) as pf, pf.open() as port:
        port.start(wait_link=10)
        port.control.status.fail("failed", "the PF is silent")
        assert [note.splitlines()[0] for note in port.notes] == ["failed: the PF is silent"]
        with pytest.raises(StateError, match=r"the PF is silent\n.*port\.recover\(\)"):
            port.refresh_stats()
        port.recover()
        assert port.notes == []
        port.refresh_stats()


def test_why_says_that_a_port_was_closed(closed: Port) -> None:
    (finding,) = closed.why()
    assert (finding.what, finding.evidence) == ("the port is closed", "the port was closed")
    assert "iavfio.open(" in finding.remedy


def test_why_of_a_closed_port_whose_device_had_gone_before(lost: Port) -> None:
    assert [finding.name for finding in lost.why()] == ["device lost"]
    lost.close()
    assert [finding.what for finding in lost.why()] == ["the port is closed"]
