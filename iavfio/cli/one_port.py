# SPDX-License-Identifier: BSD-3-Clause
"""The one VF of a command, opened and started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from iavfio.cli.options import PortName, device_arguments, device_options
from iavfio.cli.printing import note
from iavfio.cli.private_pf import (
    check_used,
    personality_option,
    private_uplink_option,
    with_private_vfs,
)
from iavfio.cli.runtime_dir import runtime_dir_option
from iavfio.cli.targets import naming_the_holder

if TYPE_CHECKING:
    from iavfio.port.port import Port

LINK_SECONDS = 5.0


def vf_options(
    name: str, uplink: str, *, port: str = "", summary: str = ""
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options that the command `name` has besides its own: how its VF is opened, --json, and
    the runtime directory.

    `uplink`: of a private software PF, by default; `port`, `summary`: more words in the help of
    --name and --json.
    """
    options = (
        personality_option,
        private_uplink_option(uplink),
        click.option("--name", type=PortName(), help=f"Port name for 'iavfio stats'{port}."),
        device_options,
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            help=f"Print the summary as one JSON object ('iavfio schema {name}'){summary}.",
        ),
        runtime_dir_option,
    )

    def added(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return added


@contextmanager
def untouched(nothing: str) -> Iterator[None]:
    """Inside, a signal ends the command with a word on what it had done until then: `nothing`."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"iavfio: {nothing}")
        raise


def opened(stack: ExitStack, target: str, options: dict[str, Any], **more: Any) -> Port:
    """Opens the VF `target`, or one of a private software PF; it is closed with `stack`.

    `options`: those of the command, with the options of devices, private PFs and --name; `more`:
    further arguments of open_port.
    """
    from iavfio.opening import open_port

    check_used([target])
    (vf,) = with_private_vfs(stack, [target], options["personality"], options["uplink"])
    with naming_the_holder([vf]):
        port = open_port(vf, name=options["name"], **device_arguments(options, vf), **more)
    return stack.enter_context(port)


def for_frames(stack: ExitStack, target: str, options: dict[str, Any]) -> Port:
    """Opens the VF as `opened` does, with queues and MTU of `options` and buffers for its rings.

    The port, which does not run yet, has every tag in its column where the PF can strip tags.
    """
    from iavfio.datapath.pool import Pool, buffers_for

    queues = options["queues"]
    pool = Pool(buffers_for(queues * options["ring"]), contiguous=options["unsafe_noiommu"])
    port = opened(stack, target, options, pool=pool)
    tags = ["vlan"] if port.session.may_strip_vlan else []
    port.configure(queues=queues, mtu=options["mtu"] or port.settings.mtu, metadata=tags)
    return port


def start(port: Port, without_link: str = "") -> None:
    """Starts the port and waits a while for its link; says when it stays down, and what then."""
    port.start()
    await_link(port, without_link)


def await_link(port: Port, without_link: str = "") -> None:
    """Waits a while for the link of a running port; says when it stays down, and what then."""
    if not port.wait_link(LINK_SECONDS).up:
        note(f"iavfio: {port.name}: the link is down{without_link}")
