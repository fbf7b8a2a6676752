# SPDX-License-Identifier: BSD-3-Clause
"""What a user names, a VF or a running port: found, or told what there is instead."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from iavfio.errors import IavfioError
from iavfio.resources import resolved

if TYPE_CHECKING:
    from iavfio.stats import KnownPort

USER = "vfio-user:"


def port_of(target: str) -> KnownPort | None:
    """The living port that has the VF `target` open, as far as this user may see; else None."""
    wanted = _device_of(target)
    for port in _visible_ports():
        if port.alive and _device_of(port.device) == wanted:
            return port
    return None


def _visible_ports() -> list[KnownPort]:
    """Ports for a hint: none where their directory may not be read, which is another mistake."""
    from iavfio.stats import ports

    try:
        return ports()
    except IavfioError:
        return []


def check_distinct(targets: Sequence[str]) -> None:
    """Raises UsageError where two names are of one VF; each "softvf" is a VF of its own."""
    seen: set[str] = set()
    for target in targets:
        if target == "softvf":
            continue
        device = _device_of(target)
        if device in seen:
            raise click.UsageError(
                f"the VF {target} is named twice: name two VFs of one PF, or one alone"
            )
        seen.add(device)


def _device_of(target: str) -> str:
    """Returns one name for all names of a VF: its full PCI address, or its socket's own path."""
    from iavfio.pyvfio.opening import normal_bdf

    target = resolved(target)
    return normal_bdf(target) or os.path.realpath(target.removeprefix(USER))


def near_ports(word: str) -> str:
    """Says which ports run, the nearest to `word` first, to somebody who named none of them."""
    from iavfio.arguments import nearest
    from iavfio.stats import shown_base

    names = sorted({port.name for port in _visible_ports() if port.alive})
    if not names:
        return f"no port is running (none has counters in {shown_base()})"
    close = nearest(word, names)
    hint = f"did you mean {close}? " if close else ""
    return f"{hint}running ports: {', '.join(names)}"


@contextmanager
def naming_the_holder(targets: Sequence[str]) -> Iterator[None]:
    """Names the running port that has a VF in the error of a VF that cannot be opened."""
    from iavfio.pyvfio import Busy

    try:
        yield
    except Busy as error:
        for target in targets:
            holder = port_of(target)
            if holder is not None and _is_about(error, holder):
                error.advise(
                    f"the port {holder.name} has it open ({holder.process}, user {holder.user})",
                    f"look at that port: iavfio stats {holder.name}, iavfio why {holder.name}; "
                    "end its program to use the VF here",
                )
        raise


def _is_about(error: IavfioError, holder: KnownPort) -> bool:
    return holder.device in error.what
