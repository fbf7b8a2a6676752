# SPDX-License-Identifier: BSD-3-Clause
"""A software PF of a command's own, for targets that are named "softvf"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import click
from click.core import ParameterSource

from iavfio.arguments import without_effect
from iavfio.cli.cards import Personality
from iavfio.logs import on_one_line

PRIVATE = ("personality", "uplink", "writeback")
DEVICE = ("vfio_mode", "vf_token", "unsafe_noiommu")


def personality_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the option that says which card a private software PF plays."""
    return click.option(
        "--personality",
        type=Personality(),
        default="e810",
        show_default=True,
        metavar="NAME[,KEY=VALUE...]",
        help="Of a private software VF: e810, x710 or x722, and options as of 'iavfio softvf'.",
    )(command)


def private_uplink_option(default: str) -> Callable[..., Any]:
    """An option that says what is at the other end of a private software PF's wire."""
    return click.option(
        "--uplink",
        default=default,
        show_default=True,
        help="Of a private software VF: its wire, as of 'iavfio softvf'.",
    )


def check_used(targets: Sequence[str]) -> None:
    """Raises UsageError for an option that was given and that none of the targets has a use for."""
    context = click.get_current_context(silent=True)
    if context is None:
        return
    from iavfio.opening import is_pci
    from iavfio.pyvfio.opening import KERNEL_ONLY

    private = "softvf" in targets
    pci = any(map(is_pci, targets))
    for names, used, whose in (
        (PRIVATE, private, "a private software VF, and none is named: write softvf for one"),
        (DEVICE, pci, KERNEL_ONLY),
    ):
        for name in names:
            if not used and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(
                    on_one_line(str(without_effect(f"--{name.replace('_', '-')}", whose)))
                )


def with_private_vfs(
    stack: ExitStack,
    targets: Sequence[str],
    personality: tuple[str, Mapping[str, Any]],
    uplink: str,
    **how: Any,
) -> list[str]:
    """The targets, each "softvf" among them a VF of one software PF that ends with `stack`.

    `uplink`: what its wire is; `how`: more of what `iavfio.softvf` takes.
    """
    count = targets.count("softvf")
    if not count:
        return list(targets)
    from iavfio.softvf import softvf

    name, options = personality
    pf = softvf(vfs=count, uplink=uplink, personality=name, options=options, **how)
    sockets = iter(stack.enter_context(pf).sockets)
    return [next(sockets) if target == "softvf" else target for target in targets]
