# SPDX-License-Identifier: BSD-3-Clause
"""Public calls with values of any type: an IavfioError tells what is wrong, or the value fits."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iavfio
from iavfio import Lane, Worker, capture, faults, fleet, generator, live, punt, stats, testing, vfs
from iavfio.errors import ConfigError, IavfioError
from iavfio.port.port import Port
from iavfio.signatures import checked_call
from tests.capture.files import write_pcap


class Stranger:
    """An object that is nothing that any call asks for."""


WRONG: list[Any] = [
    None, "x", b"x", 1.5, -1, True, [], [None], {}, Stranger(), float("nan"), 1 << 70, ("a", 1),
    np.zeros(3), np.int8(3), print, {1},
]  # fmt: skip
FRAME = bytes(12) + b"\x08\x00" + bytes(50)
PLAN = fleet.FleetPlan(
    fleet.Cluster(scheduler="tcp://192.0.2.1:8786"),
    (fleet.Host("west", "softvf", "sender"), fleet.Host("east", "softvf", "receiver")),
)
BLOCKING = {"progress", "duration", "condition", "seconds", "timeout", "count"}


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[Port, Port]]:
    with iavfio.softvf(vfs=2) as pf, pf.open(0) as a, pf.open(1) as b:
        for port in (a, b):
            port.configure(queues=2)
            port.start(wait_link=10)
        yield a, b


def tried(call: Callable[..., Any], given: Mapping[str, Any]) -> list[str]:
    """What went wrong otherwise than by an IavfioError, for each argument and each wrong value."""
    found = []
    for name, parameter in inspect.signature(call).parameters.items():
        if name in BLOCKING or parameter.kind in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        ):
            continue
        for value in WRONG:
            try:
                made = call(**{**given, name: value})
            except IavfioError:
                continue
            except Exception as error:
                found.append(f"{name}={value!r}: {type(error).__name__}: {error}")
            else:
                if isinstance(made, Worker | punt.Punt | punt.Tap):
                    made.close()
                elif isinstance(made, capture.Mirror):
                    made.end()
    return found


CALLS: dict[str, tuple[Callable[[Port, Port, Path], Any], Callable[[Port, Path], dict[str, Any]]]]
CALLS = {
    "Worker": (
        lambda a, b, _: Worker,
        lambda a, _: {"mode": "rxdrop", "lanes": [Lane(a.rx[0])], "limit": 1},
    ),
    "port.recover": (lambda a, b, _: b.recover, lambda *_: {}),
    "port.own": (lambda a, b, _: b.own, lambda *_: {}),
    "tx.build": (lambda a, b, _: a.tx[1].build, lambda *_: {"packets": [FRAME]}),
    "rx.recv": (lambda a, b, _: a.rx[1].recv, lambda *_: {"timeout": 0}),
    "pool.iova": (lambda a, b, _: a.pool.iova, lambda *_: {}),
    "pool.mapped_in": (lambda a, b, _: a.pool.mapped_in, lambda *_: {}),
    "stats.as_dict": (lambda a, b, _: a.stats.as_dict, lambda *_: {}),
    "stats.to_json": (lambda a, b, _: a.stats.to_json, lambda *_: {}),
    "stats.read": (lambda a, b, _: stats.read, lambda a, _: {"port": a.name}),
    "snapshot.since": (lambda a, b, _: a.stats.snapshot().since, lambda *_: {}),
    "snapshot.of_queues": (lambda a, b, _: a.stats.snapshot().of_queues, lambda *_: {}),
    "snapshot.counters": (lambda a, b, _: a.stats.snapshot().counters, lambda *_: {}),
    "snapshot.text": (lambda a, b, _: a.stats.snapshot().text, lambda *_: {}),
    "wrap": (lambda a, b, _: faults.wrap, lambda a, _: {"port": a}),
    "Capture": (
        lambda a, b, _: capture.Capture,
        lambda a, path: {"port": a, "path": str(path / "c")},
    ),
    "Mirror": (lambda *_: capture.Mirror, lambda a, _: {"port": a.name}),
    "MirrorCapture": (
        lambda *_: capture.MirrorCapture,
        lambda a, path: {"mirror": capture.Mirror(a.name), "path": str(path / "m")},
    ),
    "Punt": (lambda *_: punt.Punt, lambda a, _: {"port": a, "tap": f"wrong{os.getpid()}"}),
    "Tap": (lambda *_: punt.Tap, lambda *_: {}),
    "Fleet": (lambda *_: fleet.Fleet, lambda *_: {"plan": PLAN}),
    "FleetSearch": (lambda *_: fleet.FleetSearch, lambda *_: {"fleet": fleet.Fleet(PLAN)}),
    "read_plan": (lambda *_: fleet.read_plan, lambda *_: {}),
    "Filter": (lambda *_: capture.Filter, lambda *_: {"expression": "udp"}),
    "load": (lambda *_: capture.load, lambda *_: {}),
    "parse_rule": (lambda *_: capture.parse_rule, lambda *_: {}),
    "Replay": (
        lambda *_: capture.Replay,
        lambda a, path: {"port": a, "frames": capture.load(path / "a")},
    ),
    "Generator": (
        lambda *_: generator.Generator,
        lambda a, _: {"port": a, "streams": [generator.Stream()]},
    ),
    "Stream": (lambda *_: generator.Stream, lambda *_: {}),
    "parse_stream": (lambda *_: generator.parse_stream, lambda *_: {}),
    "read_streams": (lambda *_: generator.read_streams, lambda *_: {}),
    "Watch": (lambda *_: live.Watch, lambda *_: {}),
    "rates": (lambda *_: live.rates, lambda *_: {}),
    "start_pair": (lambda *_: testing.start_pair, lambda *_: {}),
    "vfs.parse": (lambda *_: vfs.parse, lambda *_: {}),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_type_is_told_by_an_error_of_ours(
    ports: tuple[Port, Port], tmp_path: Path, name: str
) -> None:
    write_pcap(tmp_path / "a", [FRAME])
    call, given = CALLS[name]
    assert tried(call(*ports, tmp_path), given(ports[0], tmp_path)) == []


def test_a_worker_waits_for_a_number_of_seconds(ports: tuple[Port, Port]) -> None:
    with Worker("rxdrop", [Lane(ports[0].rx[0])]) as worker:
        anything: Any = worker
        wrong: list[Any] = [None, "1", [], {}, Stranger(), np.zeros(3)]
        for value in wrong:
            with pytest.raises(ConfigError, match="timeout is a number, not"):
                anything.wait(value)
            with pytest.raises(ConfigError, match="quiet is a number, not"):
                anything.finish(quiet=value)


def example(
    port: Path | str, *, names: list[str] | None = None, on: bool = False, share: float = 0.5
) -> str:
    return f"{port} {names} {on} {share}"


TOLD = [
    ({"port": 5}, "port is an object of Path or a text, not the int 5"),
    ({"port": "x", "names": "ab"}, "names is a list of str or None, not the str 'ab'"),
    ({"port": "x", "names": [1]}, "names is a list of str or None, not the list [1]"),
    ({"port": "x", "on": 1}, "on is True or False, not the int 1"),
    ({"port": "x", "share": "1"}, "share is a number, not the str '1'"),
    ({"port": "x", "share": True}, "share is a number, not the bool True"),
    ({"port": "x", "shares": 1}, "did you mean share?"),
]


@pytest.mark.parametrize(("given", "told"), TOLD)
def test_the_error_says_what_the_argument_is(given: dict[str, Any], told: str) -> None:
    checked: Any = checked_call(example)
    with pytest.raises(ConfigError) as refused:
        checked(**given)
    assert told in str(refused.value)
    assert checked(Path("x"), names=["a"], on=np.True_, share=1) == "x ['a'] True 1"
