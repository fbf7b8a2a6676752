# SPDX-License-Identifier: BSD-3-Clause
"""Running ports in the words of DPDK's telemetry: what its tools ask for, and the answers.

A port keeps its number for as long as this object lives, also when it ends and comes back. Figures
are those of the queues; the VF's own counters are the PF's. Names are those of DPDK's ethdev
library and of its generic extended statistics, then libie's, as `iavfio stats` has them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from iavfio import __version__
from iavfio.stats import Snapshot
from iavfio.stats.listing import snapshots

MOST_BYTES = 1 << 17  # of an answer; a socket takes as much at once
MOST_COMMAND = 55  # characters
QUEUE_COUNTERS = 16  # of each array q_...
BAD = ("drop_error", "drop_oversize", "drop_chain", "drop_malformed")
XSTATS = {  # of the PF's counters
    "rx_unicast_packets": "rx_unicast",
    "rx_multicast_packets": "rx_multicast",
    "rx_broadcast_packets": "rx_broadcast",
    "rx_dropped_packets": "rx_discards",
    "rx_unknown_protocol_packets": "rx_unknown_protocol",
    "tx_unicast_packets": "tx_unicast",
    "tx_multicast_packets": "tx_multicast",
    "tx_broadcast_packets": "tx_broadcast",
    "tx_dropped_packets": "tx_discards",
    "tx_error_packets": "tx_errors",
}
MOST_NUMBERS = 100_000  # as many as requests can name; a port that comes after them has none
ATTACHED = 1  # the state of a device that is in use


class Telemetry:
    """Answers the commands of DPDK's telemetry, version 2."""

    def __init__(self, read: Callable[[], list[Snapshot]] = snapshots) -> None:
        self._read = read
        self._numbers: dict[tuple[str, str], int] = {}
        self._commands: dict[str, tuple[Callable[[str], object], str]] = {
            "/": (self._list, "Lists the commands. No parameters"),
            "/ethdev/info": (self._info, "Describes a port. Parameters: int port_id"),
            "/ethdev/link_status": (self._link, "Link of a port. Parameters: int port_id"),
            "/ethdev/list": (self._ports, "Lists the port numbers. No parameters"),
            "/ethdev/stats": (self._stats, "Counters of a port. Parameters: int port_id"),
            "/ethdev/xstats": (
                self._xstats,
                "All counters of a port. Parameters: int port_id,hide_zero=true|false",
            ),
            "/help": (self._help, "Explains a command. Parameters: string command"),
            "/info": (lambda _: self._about(), "Describes the program. No parameters"),
        }

    def greeting(self) -> bytes:
        """Returns what a client gets when it connects, as JSON."""
        return json.dumps(self._about()).encode()

    def answer(self, request: bytes) -> bytes:
        """The answer to a command with its parameters behind a comma; null for what is unknown."""
        command, _, parameters = request.decode("utf-8", "replace").strip("\0\n ").partition(",")
        found = self._commands.get(command)
        told = found[0](parameters) if found else None
        name = command[:MOST_COMMAND] or "none"
        text = json.dumps({name: told}).encode()
        return text if len(text) <= MOST_BYTES else json.dumps({name: None}).encode()

    def _about(self) -> dict[str, object]:
        return {
            "version": f"iavfio {__version__}",
            "pid": os.getpid(),
            "max_output_len": MOST_BYTES,
        }

    def _list(self, _: str) -> object:
        return sorted(self._commands)

    def _help(self, command: str) -> object:
        found = self._commands.get(command)
        return {command: found[1]} if found else None

    # ---- ports

    def _running(self) -> dict[int, Snapshot]:
        found = {}
        for snapshot in self._read():
            key = (snapshot.user, snapshot.port)
            if key not in self._numbers and len(self._numbers) >= MOST_NUMBERS:
                continue
            found[self._numbers.setdefault(key, len(self._numbers))] = snapshot
        return dict(sorted(found.items()))

    def _port(self, parameters: str) -> tuple[int, Snapshot] | None:
        number = parameters.partition(",")[0].strip()
        if not number.isascii() or not number.isdigit() or len(number) > 5:
            return None
        snapshot = self._running().get(int(number))
        return None if snapshot is None else (int(number), snapshot)

    def _ports(self, _: str) -> object:
        return list(self._running())

    def _info(self, parameters: str) -> object:
        found = self._port(parameters)
        if found is None:
            return None
        number, port = found
        return {
            "name": port.port,
            "state": ATTACHED,
            "nb_rx_queues": len(port.rq),
            "nb_tx_queues": len(port.sq),
            "port_id": number,
            "mac_addr": port.mac.upper(),
            "dev_started": int(port.state == "running"),
            "device": port.device,
            "transport": port.transport,
            "user": port.user,
        }

    def _link(self, parameters: str) -> object:
        found = self._port(parameters)
        if found is None:
            return None
        port = found[1]
        if not port.link_up:
            return {"status": "DOWN"}
        return {"status": "UP", "speed": port.link_mbps, "duplex": "full-duplex"}

    def _stats(self, parameters: str) -> object:
        found = self._port(parameters)
        if found is None:
            return None
        port = found[1]
        told: dict[str, Any] = dict(_sums(port))
        told["q_ipackets"] = _each(port.rq, "packets")
        told["q_opackets"] = _each(port.sq, "packets")
        told["q_ibytes"] = _each(port.rq, "bytes")
        told["q_obytes"] = _each(port.sq, "bytes")
        told["q_errors"] = _each(port.rq, *BAD)
        return told

    def _xstats(self, parameters: str) -> object:
        found = self._port(parameters)
        if found is None:
            return None
        told = xstats(found[1])
        if parameters.partition(",")[2].strip() == "hide_zero=true":
            told = {name: value for name, value in told.items() if value}
        return told


def xstats(port: Snapshot) -> dict[str, int]:
    """All counters: DPDK's generic names, those of the PF's counters, and libie's."""
    sums = _sums(port)
    told = {
        "rx_good_packets": sums["ipackets"],
        "tx_good_packets": sums["opackets"],
        "rx_good_bytes": sums["ibytes"],
        "tx_good_bytes": sums["obytes"],
        "rx_missed_errors": sums["imissed"],
        "rx_errors": sums["ierrors"],
        "tx_errors": sums["oerrors"],
        "rx_mbuf_allocation_errors": sums["rx_nombuf"],
    }
    for number, (rq, sq) in enumerate(zip(port.rq, port.sq, strict=True)):
        told[f"rx_q{number}_packets"] = rq["packets"]
        told[f"rx_q{number}_bytes"] = rq["bytes"]
        told[f"rx_q{number}_errors"] = sum(rq[name] for name in BAD)
        told[f"tx_q{number}_packets"] = sq["packets"]
        told[f"tx_q{number}_bytes"] = sq["bytes"]
    told |= {name: port.pf[counter] for name, counter in XSTATS.items()}
    libie = port.counters(own=True)
    return told | {name: value for name, value in libie.items() if name[:2] in ("rq", "sq")}


def _sums(port: Snapshot) -> dict[str, int]:
    return {
        "ipackets": _sum(port.rq, "packets"),
        "opackets": _sum(port.sq, "packets"),
        "ibytes": _sum(port.rq, "bytes"),
        "obytes": _sum(port.sq, "bytes"),
        "imissed": port.pf["rx_discards"],
        "ierrors": _sum(port.rq, *BAD) + port.pf["rx_unknown_protocol"],
        "oerrors": port.pf["tx_errors"] + port.pf["tx_discards"],
        "rx_nombuf": _sum(port.rq, "alloc_page_fail"),
    }


def _sum(queues: tuple[dict[str, int], ...], *names: str) -> int:
    return sum(queue[name] for queue in queues for name in names)


def _each(queues: tuple[dict[str, int], ...], *names: str) -> list[int]:
    values = [sum(queue[name] for name in names) for queue in queues[:QUEUE_COUNTERS]]
    return values + [0] * (QUEUE_COUNTERS - len(values))
