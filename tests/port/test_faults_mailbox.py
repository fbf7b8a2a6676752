# SPDX-License-Identifier: BSD-3-Clause
"""A PF that loses, delays, repeats and garbles replies, as a port lives through it.

See docs/spec/reliability.md F1-F13.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

import iavfio
from iavfio._driver import lib
from iavfio.datapath.pool import Pool
from iavfio.errors import IavfioError
from iavfio.port import negotiation as session_module
from iavfio.port import recovery
from iavfio.softvf.launch import SoftPf
from iavfio.virtchnl.channel import Channel
from iavfio.virtchnl.messages.names import opcode_name
from tests.port.rig import Options, healthy, lawful, until, works

FAST: Options = {"reset_ms": 1}
PACE = 0.05  # of the time that a real PF is given: 0.1 s instead of 2 s until it is probed
DEADLINE = 0.1
BOUND = 3.0  # seconds that one call may take with it

OPENING = (
    lib.VC_OP_VERSION,
    lib.VC_OP_GET_VF_RESOURCES,
    lib.VC_OP_GET_SUPPORTED_RXDIDS,
    lib.VC_OP_GET_OFFLOAD_VLAN_V2_CAPS,
)
STARTING = (
    lib.VC_OP_CONFIG_VSI_QUEUES,
    lib.VC_OP_CONFIG_IRQ_MAP,
    lib.VC_OP_CONFIG_RSS_KEY,
    lib.VC_OP_CONFIG_RSS_LUT,
    lib.VC_OP_GET_RSS_HASHCFG_CAPS,
    lib.VC_OP_SET_RSS_HASHCFG,
    lib.VC_OP_DISABLE_VLAN_STRIPPING_V2,
    lib.VC_OP_ADD_ETH_ADDR,
    lib.VC_OP_CONFIG_PROMISCUOUS_MODE,
    lib.VC_OP_ENABLE_QUEUES,
)
STOPPING = (lib.VC_OP_GET_STATS, lib.VC_OP_DISABLE_QUEUES)
FAULTS: tuple[tuple[str, int], ...] = (
    ("lose", 0),
    ("drop", 0),
    ("delay", int(DEADLINE * 1500)),
    ("duplicate", 0),
    ("truncate", 1),
    ("extend", 7),
    ("corrupt", 0),
    ("retval", -5),
    ("opcode", 0),
    ("opcode", 77),
)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short deadlines: what is tested is what comes after them."""
    monkeypatch.setattr(Channel, "pace", PACE)
    monkeypatch.setattr(session_module, "SEEN_DEADLINE", 0.2)
    monkeypatch.setattr(session_module, "NEGOTIATE_DEADLINE", 0.5)
    monkeypatch.setattr(recovery, "BACKOFF", 0.01)


@pytest.fixture(scope="module", params=["e810", "x710"])
def shared(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    with iavfio.softvf(personality=request.param, options=FAST) as pf:
        yield pf
        assert lawful(pf)


@pytest.fixture
def pf(shared: SoftPf) -> Iterator[SoftPf]:
    yield shared
    shared.control("fault", vf=0, kind="clear")


@pytest.fixture
def pool() -> Pool:
    return Pool(2048, huge="never")


def bounded(began: float) -> None:
    assert time.monotonic() - began < BOUND


# docs/spec/reliability.md F1, F4
@pytest.mark.parametrize(("kind", "value"), FAULTS)
def test_fault_while_opening(pf: SoftPf, pool: Pool, kind: str, value: int) -> None:
    for opcode in OPENING:
        pf.control("fault", vf=0, kind=kind, opcode=opcode, value=value)
        began = time.monotonic()
        try:
            pf.open(0, pool=pool).close()
        except IavfioError as error:
            assert error.what
        bounded(began)
        pf.control("fault", vf=0, kind="clear")
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        works(port)
    assert healthy(pool)


# docs/spec/reliability.md F1, F4
@pytest.mark.parametrize(("kind", "value"), FAULTS)
def test_fault_while_starting(pf: SoftPf, pool: Pool, kind: str, value: int) -> None:
    with pf.open(0, pool=pool) as port:
        port.configure(queues=2, mac="02:00:00:00:00:55", promiscuous=True)
        for opcode in STARTING:
            pf.control("fault", vf=0, kind=kind, opcode=opcode, value=value)
            began = time.monotonic()
            try:
                port.start()
            except IavfioError as error:
                assert error.what
                assert port.state in ("stopped", "failed")
                if port.state == "stopped":
                    assert healthy(pool)
            else:
                assert port.state == "running"
                port.stop()
            bounded(began)
            pf.control("fault", vf=0, kind="clear")
            if port.state == "failed":
                port.recover()
            assert port.state == "stopped", (opcode_name(opcode), port.notes)
        port.start(wait_link=5)
        works(port)
    assert healthy(pool)


# docs/spec/reliability.md F41
@pytest.mark.parametrize(("kind", "value"), FAULTS)
def test_fault_while_stopping(pf: SoftPf, pool: Pool, kind: str, value: int) -> None:
    with pf.open(0, pool=pool) as port:
        for opcode in STOPPING:
            port.start()
            pf.control("fault", vf=0, kind=kind, opcode=opcode, value=value)
            began = time.monotonic()
            port.stop()
            bounded(began)
            assert port.state == "stopped"
            assert healthy(pool)
            pf.control("fault", vf=0, kind="clear")
        port.start(wait_link=5)
        works(port)
        pf.control("fault", vf=0, kind=kind, opcode=lib.VC_OP_DISABLE_QUEUES, value=value)
        began = time.monotonic()
    bounded(began)
    assert healthy(pool)


@pytest.mark.parametrize(("kind", "value"), FAULTS)
def test_fault_while_recovering(pf: SoftPf, pool: Pool, kind: str, value: int) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        for opcode in (
            lib.VC_OP_VERSION,
            lib.VC_OP_GET_VF_RESOURCES,
            lib.VC_OP_CONFIG_VSI_QUEUES,
            lib.VC_OP_ENABLE_QUEUES,
        ):
            pf.control("fault", vf=0, kind=kind, opcode=opcode, value=value)
            began = time.monotonic()
            try:
                port.reset()
            except IavfioError:
                assert port.state == "failed"
            bounded(began)
            pf.control("fault", vf=0, kind="clear")
            if port.state == "failed":
                port.recover()
            assert port.state == "running", (opcode_name(opcode), port.notes)
        port.wait_link(5)
        works(port)
    assert healthy(pool)


# docs/spec/reliability.md F10
def test_pf_that_refuses_for_good_ends_in_failed_not_in_a_loop(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start()
        resets = pf.control("snapshot", vf=0)["snapshot"]["resets"]
        pf.control(
            "fault", vf=0, kind="retval", opcode=lib.VC_OP_CONFIG_VSI_QUEUES, value=-5, count=999
        )
        with pytest.raises(IavfioError, match="CONFIG_VSI_QUEUES"):
            port.reset()
        assert port.state == "failed"
        assert "CONFIG_VSI_QUEUES" in port.why_stopped()
        spent = pf.control("snapshot", vf=0)["snapshot"]["resets"] - resets
        assert spent == 5  # one for each attempt
        time.sleep(0.05)
        assert pf.control("snapshot", vf=0)["snapshot"]["resets"] - resets == spent
        pf.control("fault", vf=0, kind="clear")
        port.recover()
        port.wait_link(5)
        works(port)
    assert healthy(pool)


# docs/spec/reliability.md F3, F6
def test_unsolicited_messages_are_counted_and_change_nothing(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        counters = port.session.client.counters
        before, link = counters.unsolicited + counters.bad_events, port.link
        for opcode, payload in (
            (0, ""),
            (lib.VC_OP_ENABLE_QUEUES, ""),
            (lib.VC_OP_EVENT, "07"),
            (999, "00" * 40),
        ):
            pf.control("send", vf=0, opcode=opcode, payload=payload)
        bad_link = (2).to_bytes(4, "little").hex() + "ff" * 12
        pf.control("send", vf=0, opcode=lib.VC_OP_EVENT, payload=bad_link)
        for _ in range(8):
            port.refresh_stats()
        assert counters.unsolicited + counters.bad_events - before >= 4
        assert port.link == link
        works(port)
    assert healthy(pool)


# docs/spec/reliability.md F23
@pytest.mark.parametrize("before", ["nothing", "a reset by the driver", "a reset by the host"])
def test_stale_notice_of_a_reset_is_ignored(pf: SoftPf, pool: Pool, before: str) -> None:
    """Registers alone say that there is a reset; one that is over has cleared the mailbox."""
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        if before == "a reset by the driver":
            port.reset()
        elif before == "a reset by the host":
            pf.control("reset", vf=0)
            assert until(lambda: len(port.resets) == 1 and port.state == "running")
        known = list(port.resets)
        port.wait_link(5)
        notice = (2).to_bytes(4, "little").hex() + "00" * 12
        for _ in range(3):
            pf.control("send", vf=0, opcode=lib.VC_OP_EVENT, payload=notice)
            port.refresh_stats()
            works(port)
        assert port.resets == known and len(known) == (before != "nothing")
        assert port.state == "running"
