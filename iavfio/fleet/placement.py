# SPDX-License-Identifier: BSD-3-Clause
"""Which dask worker is which host of a plan, by what the scheduler tells of its workers."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any

from iavfio.arguments import counted
from iavfio.fleet.engine import HostLost
from iavfio.fleet.plan import Host


def assign(
    hosts: Sequence[Host],
    workers: Mapping[str, Mapping[str, Any]],
    others: frozenset[str] = frozenset(),
) -> dict[str, str]:
    """The address of a worker for each host, by the host's name.

    `workers`: dask's description of each, by address; `others`: addresses that hosts have already.
    A worker is known by its name, its address, and the names and address of its host. Hosts that
    name the same worker share it; no worker that was found by a resource or in turn has two. Raises
    HostLost for a host that finds none.
    """
    names: dict[str, str] = {}
    for address, about in workers.items():
        for word in (str(about.get("name", "")), str(about.get("host", "")), address):
            names.setdefault(word, address)
    for host in hosts:
        if host.worker and host.worker not in names:
            for known in resolved(host.worker) & names.keys():
                names[host.worker] = names[known]
    found: dict[str, str] = {}
    for host in hosts:
        word = host.worker or ("" if host.resource else host.name)
        if word in names:
            found[host.name] = names[word]
        elif host.worker:
            raise _no_place(host, f"there is no worker {word}", workers)
    taken = {*others, *found.values()}
    for host in hosts:
        if host.name in found:
            continue
        free = (
            address
            for address, about in workers.items()
            if address not in taken
            and (not host.resource or about.get("resources", {}).get(host.resource, 0) > 0)
        )
        address = next(free, "")
        if not address:
            what = f"with the resource {host.resource}" if host.resource else "left"
            raise _no_place(host, f"there is no worker {what}", workers)
        found[host.name] = address
        taken.add(address)
    return found


def resolved(name: str) -> set[str]:
    """The addresses of a host's name; none where nobody knows it."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
    except (OSError, UnicodeError):
        return set()


def _no_place(host: Host, why: str, workers: Mapping[str, Mapping[str, Any]]) -> HostLost:
    known = ", ".join(str(about.get("name", address)) for address, about in workers.items())
    return HostLost(
        host.name,
        f"{why}; the scheduler has {counted(len(workers), 'worker')}{': ' if known else ''}{known}",
        "start one there: dask worker SCHEDULER --nthreads 1 --name " + (host.worker or host.name),
    )
