# SPDX-License-Identifier: BSD-3-Clause
"""The one VF of a command, opened and started."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from iavfio.cli.options import device_arguments
from iavfio.cli.printing import note
from iavfio.cli.private_pf import check_used, with_private_vfs
from iavfio.cli.targets import naming_the_holder
from iavfio.ranges import MTU

if TYPE_CHECKING:
    from iavfio.port.port import Port

LINK_SECONDS = 5.0


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


def mtu_for(port: Port, longest: int) -> int:
    """The MTU for frames of at most so many bytes without FCS; as near as the PF allows."""
    from iavfio.port.settings import ETHERNET

    most = min(port.control.limits.mtu, MTU.high)
    return min(max(longest - ETHERNET, port.settings.mtu), most)


def start(port: Port, without_link: str = "") -> None:
    """Starts the port and waits a while for its link; says when it stays down, and what then."""
    port.start()
    await_link(port, without_link)


def await_link(port: Port, without_link: str = "") -> None:
    """Waits a while for the link of a running port; says when it stays down, and what then."""
    if not port.wait_link(LINK_SECONDS).up:
        note(f"iavfio: {port.name}: the link is down{without_link}")
