# SPDX-License-Identifier: BSD-3-Clause
"""CPUs that poll: kept free of other work, at full speed, awake, and without foreign interrupts."""

from __future__ import annotations

from collections.abc import Iterator

from iavfio.doctor.finding import Seen
from iavfio.doctor.host import Host, HostRow, cpu_list, shown_cpus
from iavfio.host.changes import Write

CPUS = "sys/devices/system/cpu"
SLOW_WAKE = 100  # microseconds: longer than a full ring lasts at 10 Gbit/s of small packets


def _isolation(host: Host) -> Iterator[Seen]:
    if host.isolated and not (host.follows_port and host.cpus - host.isolated):
        return
    open_ = host.cpus - host.isolated if host.follows_port else frozenset[int]()
    yield Seen(
        f"workers run on CPUs that are not isolated: {shown_cpus(open_)}"
        if open_
        else "no CPU is isolated for workers",
        "the scheduler may put other threads on them, and each takes milliseconds",
        "give workers CPUs of their own: isolcpus=managed_irq,domain,LIST nohz_full=LIST on the "
        "kernel's command line, LIST being their numbers as in 2-3, and --cpus with the same",
    )


def _governor(host: Host) -> Iterator[Seen]:
    slow: dict[int, str] = {}
    for cpu in sorted(host.cpus):
        governor = host.text(f"{CPUS}/cpu{cpu}/cpufreq/scaling_governor")
        if governor and governor != "performance":
            slow[cpu] = governor
    if slow:
        yield Seen(
            f"CPUs {shown_cpus(frozenset(slow))} are slowed down when they seem idle",
            f"their frequency governor is {', '.join(sorted(set(slow.values())))}",
            "sudo cpupower frequency-set -g performance",
            tuple(
                Write(host.path(f"{CPUS}/cpu{cpu}/cpufreq/scaling_governor"), "performance")
                for cpu in slow
            ),
        )


def _sleep(host: Host) -> Iterator[Seen]:
    deep: dict[int, list[str]] = {}
    slowest = 0
    for cpu in sorted(host.cpus):
        place = f"{CPUS}/cpu{cpu}/cpuidle"
        for state in host.names(place):
            latency = host.number(f"{place}/{state}/latency") or 0
            if latency > SLOW_WAKE and host.text(f"{place}/{state}/disable") == "0":
                deep.setdefault(cpu, []).append(f"{place}/{state}/disable")
                slowest = max(slowest, latency)
    if deep:
        yield Seen(
            f"CPUs {shown_cpus(frozenset(deep))} may sleep so deeply that they need {slowest} us "
            "to wake",
            "C-states are on: a receiver that waits for an interrupt is that much late",
            f"sudo cpupower idle-set -D {SLOW_WAKE}",
            tuple(Write(host.path(file), "1") for files in deep.values() for file in files),
        )


def _interrupts(host: Host) -> Iterator[Seen]:
    watched = host.cpus if host.follows_port else host.isolated
    if not watched or watched >= host.online:
        return
    rest = shown_cpus(host.online - watched)
    for irq in host.names("proc/irq"):
        place = f"proc/irq/{irq}"
        cpus = cpu_list(host.text(f"{place}/effective_affinity_list"))
        users = [name for name in host.names(place) if host.path(f"{place}/{name}").is_dir()]
        if irq.isdecimal() and users and cpus & watched and not users[0].startswith("vfio"):
            path = host.path(f"{place}/smp_affinity_list")
            yield Seen(
                f"interrupt {irq} ({', '.join(users)}) comes to worker CPUs "
                f"{shown_cpus(cpus & watched)}",
                "each one stops the worker for microseconds",
                f"echo {rest} | sudo tee {path}; and stop irqbalance from moving it back",
                (Write(path, rest),),
            )


ROWS: tuple[HostRow, ...] = (
    HostRow("cpu.isolation", "note", _isolation),
    HostRow("cpu.governor", "warning", _governor),
    HostRow("cpu.sleep", "warning", _sleep),
    HostRow("irq.workers", "warning", _interrupts),
)
