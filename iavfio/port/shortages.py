# SPDX-License-Identifier: BSD-3-Clause
"""What a port has less of than it could use: vectors, buffers, huge pages, long frames."""

from __future__ import annotations

from iavfio.arguments import counted
from iavfio.datapath.pool import Pool
from iavfio.port.interrupts import Interrupts
from iavfio.port.negotiation import Session
from iavfio.port.settings import Settings
from iavfio.port.status import PortStatus
from iavfio.port.vectors import VectorPlan
from iavfio.pyvfio.bar import Bar

SHARE = 16  # a pool that has less than this part of its buffers left is short
LEAST = 64  # buffers for each queue: two batches of a refill
HUGE_2M = 2 << 20


def say_shortages(
    status: PortStatus, plan: VectorPlan, pool: Pool, transport: str, node: int | None = None
) -> None:
    """Begins or ends the conditions, right after the receive rings were filled.

    `node` is the NUMA node of the device, None where it has none.
    """
    status.tell("shared vectors", _shared_vectors(plan))
    status.tell("buffers short", _buffers(plan, pool))
    status.tell("small pages", _pages(pool, transport))
    status.tell("far memory", _node(pool, node))


def _shared_vectors(plan: VectorPlan) -> str:
    if not plan.shared:
        return ""
    queues, vectors = sum(len(v.queues) for v in plan.vectors), len(plan.vectors)
    return (
        f"{queues} queues share {counted(vectors, 'interrupt vector')}: a thread "
        "that sleeps for one queue is woken for others too\n"
        f"  configure(queues={vectors}); or on the host, with no driver on the VF: "
        "echo N > /sys/bus/pci/devices/VF/sriov_vf_msix_count"
    )


def _buffers(plan: VectorPlan, pool: Pool) -> str:
    queues = sum(len(v.queues) for v in plan.vectors)
    idle = pool.idle
    if idle >= min(max(LEAST * queues, pool.size // SHARE), pool.size // 2):
        return ""
    return (
        f"buffers are short: {idle} of the pool's {pool.size} are left beside the receive rings of "
        "its ports, so that bursts which are held let the rings run dry\n"
        f"  open the ports with a larger pool, pool=iavfio.Pool(buffers={2 * pool.size}), or one "
        "each, or use smaller rings: configure(rx_ring=256)"
    )


def _pages(pool: Pool, transport: str) -> str:
    """Huge pages spare an IOMMU work; a software VF has none."""
    if transport == "vfio-user" or not pool.memory.fallback:
        return ""
    pages = -(-pool.memory.size // HUGE_2M)
    return (
        f"packet buffers lie in small pages: {pool.memory.fallback}; the IOMMU translates more\n"
        f"  on the host: sysctl vm.nr_hugepages={pages}"
    )


def _node(pool: Pool, node: int | None) -> str:
    """Tells of buffers on another node; packets take longer (docs/spec/reliability.md F67)."""
    if node is None or node < 0 or pool.numa_node in (None, -1, node):
        return ""
    return (
        f"packet buffers lie on NUMA node {pool.numa_node} and the device on {node}: every packet "
        "crosses between them\n"
        f"  open the port with a pool of its node: pool=iavfio.Pool(numa_node={node})"
    )


def say_less_than_usual(
    status: PortStatus, session: Session, settings: Settings, interrupts: Interrupts, bar: Bar
) -> None:
    """Notes what a port that was just opened has less of than ports usually have."""
    if bar.unmapped:
        status.note(
            f"the server's file for BAR0 {bar.unmapped}: it is not mapped, and each register and "
            "doorbell is a message, which is slow\n"
            "  its server must give a memfd with F_SEAL_SHRINK"
        )
    if settings.mtu < Settings.mtu:
        status.note(
            f"the PF allows frames of {session.max_frame} bytes, so the MTU is "
            f"{settings.mtu} and not {Settings.mtu}"
        )
    if len(interrupts.fds) < interrupts.asked:
        status.note(
            f"the host gave {len(interrupts.fds)} of {interrupts.asked} interrupt vectors: "
            "queues share them"
        )
