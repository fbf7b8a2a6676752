# SPDX-License-Identifier: BSD-3-Clause
"""The ports of a measurement on one VF, or between two: their options, and how they are opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from iavfio.cli import one_port
from iavfio.cli.options import (
    CodePath,
    CpuList,
    Number,
    PortName,
    Word,
    device_arguments,
    device_options,
)
from iavfio.cli.private_pf import check_used, personality_option, with_private_vfs
from iavfio.cli.targets import check_distinct, naming_the_holder
from iavfio.ranges import BUFFERS, BURST, FLOWS, MTU, QUEUES, RING

if TYPE_CHECKING:
    from iavfio.bench.plan import Plan
    from iavfio.port.port import Port

_OPTIONS = (
    click.option(
        "--queues", type=Number(QUEUES), default=1, show_default=True, help="Queue pairs per VF."
    ),
    click.option(
        "--ring", type=Number(RING), default=512, show_default=True, help="Descriptors per ring."
    ),
    click.option(
        "--burst", type=Number(BURST), default=32, show_default=True, help="Packets per call."
    ),
    click.option(
        "--flows", type=Number(FLOWS), default=64, show_default=True, help="UDP flows, for RSS."
    ),
    click.option(
        "--ipv6", is_flag=True, help="Generate IPv6 frames, of 82 bytes or more, and not IPv4."
    ),
    click.option(
        "--no-preflight",
        is_flag=True,
        help="Do not send a frame each way first, to see whether it arrives.",
    ),
    click.option(
        "--cpus",
        type=CpuList(),
        metavar="N[-N][,...]",
        help="One worker on each of these CPUs: 2,3 or 0-3.",
    ),
    click.option("--mtu", type=Number(MTU), help="MTU; by default what the sizes need."),
    click.option(
        "--isa",
        type=CodePath(),
        default="auto",
        show_default=True,
        metavar="PATH",
        help="auto, scalar, avx2, avx512 or neon.",
    ),
    click.option(
        "--pool",
        "buffers",
        type=Number(BUFFERS),
        help="Packet buffers; by default what rings need.",
    ),
    personality_option,
    click.option(
        "--writeback",
        type=Word(["hardware", "immediate"]),
        default="hardware",
        show_default=True,
        help="How a private software VF writes descriptors back.",
    ),
    click.option(
        "--name", type=PortName(), help="Port name for 'iavfio stats'; the second gets '-2'."
    ),
    device_options,
)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options that `open_ports` and a plan take."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_targets(name: str, targets: Sequence[str]) -> None:
    """Raises UsageError for other than one or two VFs, or for one that is named twice."""
    if not 1 <= len(targets) <= 2:
        raise click.UsageError(
            f"{len(targets)} VFs were named and {name} takes one or two, as in: "
            f"iavfio {name} softvf"
        )
    check_distinct(targets)
    check_used(targets)


def open_ports(
    stack: ExitStack,
    targets: Sequence[str],
    plan: Plan,
    options: dict[str, Any],
    ports: list[Port],
) -> None:
    """Opens and starts a port for each target; `ports` holds those that are open."""
    from iavfio.datapath.pair import FCS
    from iavfio.datapath.pool import Pool, buffers_for
    from iavfio.errors import ConfigError
    from iavfio.opening import open_port
    from iavfio.port.limits import mtu_for

    queues, ring = options["queues"], options["ring"]
    rings = len(targets) * queues * ring
    if options["buffers"] is not None and options["buffers"] <= rings:
        raise ConfigError(
            f"a pool of {options['buffers']} buffers is too small",
            f"the receive rings alone hold {rings}",
            f"use --pool {max(BUFFERS.low, 2 * rings)}, or leave it out",
        )
    pool = Pool(
        options["buffers"] or buffers_for(rings),
        contiguous=options["unsafe_noiommu"],
    )
    private, wire = options["personality"], _wire(plan, targets.count("softvf"))
    targets = with_private_vfs(stack, targets, private, wire, writeback=options["writeback"])
    name = options["name"]
    for i, target in enumerate(targets):
        own = None if name is None else name if i == 0 else f"{name}-{i + 1}"
        with naming_the_holder([target]):
            opened = open_port(target, name=own, pool=pool, **device_arguments(options, target))
        port = stack.enter_context(opened)
        ports.append(port)
        mtu = options["mtu"] or mtu_for(max(plan.sizes) - FCS, port.settings, port.control.limits)
        port.configure(queues=queues, ring=ring, mtu=mtu, isa=options["isa"])
    plan.checked(ports)
    for port in ports:
        port.start()
    for port in ports:
        one_port.await_link(port)


def _wire(plan: Plan, private: int) -> str:
    """The uplink of a private software PF with so many VFs that fits the mode."""
    size = max(plan.sizes)
    return {
        "loopback": "loopback" if private == 1 else "none",
        "txonly": "none",
        "rxdrop": f"gen:size={size},flows={plan.flows}",
        "forward": f"gen:size={size},flows={plan.flows}",
    }[plan.mode]
