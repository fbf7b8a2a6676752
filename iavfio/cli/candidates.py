# SPDX-License-Identifier: BSD-3-Clause
"""What a shell offers for a word that names a VF, a function, a socket or a running port."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from iavfio import resources
from iavfio.errors import IavfioError

Items = list[CompletionItem]
DEVICES = Path("/sys/bus/pci/devices")
USER = "vfio-user:"
PLACES = ("/run/iavfio-softvf/*", "/run/iavfio", "/tmp/*")  # where software PFs have their sockets
CONTROL = "control.sock"
MOST = 200  # words are offered at most
# What a shell takes as it stands: anybody may make a socket in /tmp, and Enter follows Tab.
SAFE = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
PART = "part"  # a word that goes on: the shell puts no blank behind it


def vf(incomplete: str) -> Items:
    """What may stand for a VF: its PCI address, its socket, a resource of the pod, or softvf."""
    if incomplete.startswith(USER):
        return socket(incomplete)
    words = ["softvf", *resources.names(), *addresses(vfs=True)]
    found = _beginning(words, incomplete)
    if USER.startswith(incomplete):
        there = [f"{USER}{path}" for path in _served()]
        found += _beginning(there, incomplete) or [CompletionItem(USER, type=PART)]
    return found


def function(incomplete: str) -> Items:
    """PCI addresses of VFs, and resources of the pod."""
    return _beginning([*resources.names(), *addresses(vfs=True)], incomplete)


def socket(incomplete: str) -> Items:
    """Sockets of VFs, and directories on the way to them, with or without vfio-user: before."""
    prefix = USER if incomplete.startswith(USER) else ""
    written = incomplete.removeprefix(USER)
    folder, _, start = written.rpartition("/")
    found = []
    for path in _entries(Path(f"{folder}/" if "/" in written else ".")):
        whole = f"{prefix}{written[: len(written) - len(start)]}{path.name}"
        if not SAFE.fullmatch(path.name):
            continue
        if not path.name.startswith(start) or path.name.startswith(".") > start.startswith("."):
            continue
        if path.is_dir():
            found.append(CompletionItem(f"{whole}/", type=PART))
        elif path.is_socket() and path.name != CONTROL:
            found.append(CompletionItem(whole))
    if not written:
        found = _beginning((f"{prefix}{path}" for path in _served()), incomplete) + found
    return found[:MOST]


def port(context: click.Context, option: click.Parameter, incomplete: str) -> Items:
    """Names of running ports that this user may read."""
    from iavfio.stats import ports

    words: list[str] = []
    with suppress(IavfioError):
        words = [each.name for each in ports() if each.alive]
    return _beginning(words, incomplete)


def port_or_vf(context: click.Context, option: click.Parameter, incomplete: str) -> Items:
    """A running port, or a VF."""
    return port(context, option, incomplete) + vf(incomplete)


def port_or_function(context: click.Context, option: click.Parameter, incomplete: str) -> Items:
    """A running port, or a function of this host."""
    return port(context, option, incomplete) + function(incomplete)


def pf(context: click.Context, option: click.Parameter, incomplete: str) -> Items:
    """PCI addresses of PFs; directories are the shell's to complete."""
    found = _beginning(addresses(vfs=False), incomplete)
    return found or [CompletionItem(incomplete, type="dir")]


def addresses(vfs: bool) -> list[str]:
    """PCI addresses of this host's VFs that iavfio drives, or of PFs that can have VFs."""
    from iavfio.host import sysfs
    from iavfio.host.models import INTEL, adaptive_vfs

    found = []
    for bdf in sysfs.names(DEVICES):
        path = DEVICES / bdf
        if vfs:
            ours = sysfs.number(path / "vendor") == INTEL
            wanted = ours and sysfs.number(path / "device") in adaptive_vfs()
        else:
            wanted = (path / "sriov_totalvfs").exists()
        if wanted:
            found.append(bdf)
    return found


def words(known: Iterable[str], incomplete: str) -> Items:
    """Those of `known` that begin so; one that ends with "=" goes on."""
    return [
        CompletionItem(word, type=PART if word.endswith("=") else "plain")
        for word in known
        if word.startswith(incomplete)
    ]


def _beginning(known: Iterable[str], incomplete: str) -> Items:
    unique = dict.fromkeys(word for word in known if word.startswith(incomplete))
    return [CompletionItem(word) for word in list(unique)[:MOST]]


def _served() -> Iterator[Path]:
    """Sockets of VFs in the usual places, of this user or, for root, of all."""
    for place in PLACES:
        for path in sorted(Path("/").glob(f"{place[1:]}/vf*.sock")):
            with suppress(OSError):
                if not SAFE.fullmatch(str(path)):
                    continue
                if path.is_socket() and os.access(path, os.W_OK):
                    yield path


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
