# SPDX-License-Identifier: BSD-3-Clause
"""Types of arguments that name a device: a VF, a running port, a socket, a PCI address."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iavfio.arguments import nearest
from iavfio.errors import ConfigError, IavfioError
from iavfio.logs import on_one_line
from iavfio.resources import is_resource, resolved

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # no generic classes before click 8.2

SOCKET_PATH = 107  # bytes that a UNIX socket's address holds
SOCKET_CONTROL = "/control.sock"
SOCKET_NAME = len(SOCKET_CONTROL)
PCI_DEVICES = Path("/sys/bus/pci/devices")
ADDRESS = re.compile(r"(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", re.IGNORECASE)


class Vf(ParamType):
    """What names a VF: softvf, a PCI address, a socket, or a Kubernetes resource variable."""

    name = "vf"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from iavfio.host.address import normal

        text = str(value)
        if text.startswith("vfio-user:"):
            return f"vfio-user:{SocketPath().convert(text, param, ctx)}"
        if text != "softvf" and not ADDRESS.fullmatch(text) and not is_resource(text):
            self.fail(f"{text!r} names no VF; {vf_hint(text)}", param, ctx)
        bdf = normal(resolved(text))
        if bdf is not None and not (PCI_DEVICES / bdf).exists():
            self.fail(f"there is no PCI device {bdf}; list devices with: iavfio list", param, ctx)
        return text

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from iavfio.cli import candidates

        return candidates.vf(incomplete)


class RunningPort(str):
    """The name of a port that runs in another process."""


class VfOrPort(Vf):
    """What names a VF, or the name of a running port, which becomes a RunningPort."""

    name = "vf or port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from iavfio.stats.listing import find

        text = str(value)
        if text == "softvf" or text.startswith("vfio-user:") or is_resource(text):
            return super().convert(value, param, ctx)
        if not ADDRESS.fullmatch(text):
            try:
                return RunningPort(find(text) and text)
            except ConfigError:
                return self._vf_at_least(text, param, ctx)
            except IavfioError as error:
                self.fail(on_one_line(error.command_text), param, ctx)
        return super().convert(value, param, ctx)

    def _vf_at_least(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The VF that a word means which names no port; fails with both kinds of names."""
        from iavfio.cli.targets import near_ports

        try:
            return super().convert(text, param, ctx)
        except click.BadParameter as wrong:
            ports = "" if "/" in text else f"; or a port that runs: {near_ports(text)}"
            self.fail(f"{wrong.message}{ports}", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from iavfio.cli import candidates

        return candidates.port_or_vf(ctx, param, incomplete)


def vf_hint(text: str) -> str:
    """What somebody may have meant who named a VF by a word that names none."""
    from iavfio.host.address import interface_bdf
    from iavfio.stats import known_ports

    if "/" in text or Path(text).is_socket():
        return f"did you mean vfio-user:{text}?"
    if nearest(text, ["softvf"]):
        return "did you mean softvf?"
    if text in known_ports():
        return f"it is the name of a port: iavfio stats {text}, iavfio why {text}"
    bdf = interface_bdf(text)
    if bdf is not None:
        where = f", of the PCI device {bdf}" if bdf else " without a PCI device"
        return f"it is a network interface{where}; VFs are listed by 'iavfio list'"
    return "give a PCI address as in 'iavfio list' (0000:3b:02.0), vfio-user:/path, or softvf"


class SocketPath(ParamType):
    """The path of a software VF's socket that exists, with or without "vfio-user:" before it."""

    name = "socket"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        path = str(value).removeprefix("vfio-user:")
        if not path:
            self.fail("the socket's path is empty; write vfio-user:/path/of/socket", param, ctx)
        if len(os.fsencode(path)) > SOCKET_PATH:
            self.fail(
                f"the path is too long for a socket; it can have {SOCKET_PATH} bytes", param, ctx
            )
        if "\0" not in path:
            self._check(Path(path), param, ctx)
        return path

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from iavfio.cli import candidates

        return candidates.socket(incomplete)

    def _check(self, path: Path, param: click.Parameter | None, ctx: click.Context | None) -> None:
        if not os.path.lexists(path):
            self.fail(f"there is no socket {path}; {self._hint(path)}", param, ctx)
        if path.is_dir():
            there = self._sockets(path)
            hint = f"did you mean {path / there[0]}?" if there else self._hint(path / "vf0.sock")
            self.fail(f"{path} is a directory and no socket; {hint}", param, ctx)
        if path.exists() and not path.is_socket():
            self.fail(f"{path} is a file and no socket; {self._hint(path)}", param, ctx)
        if path.name == SOCKET_CONTROL[1:] and self._sockets(path.parent):
            self.fail(
                f"{path} is the control socket of a software PF and no VF's; {self._hint(path)}",
                param,
                ctx,
            )

    @staticmethod
    def _sockets(folder: Path) -> list[str]:
        """Names of what may be VFs there."""
        try:
            there = sorted(each.name for each in folder.iterdir() if each.is_socket())
        except OSError:
            there = []
        return [name for name in there if f"/{name}" != SOCKET_CONTROL]

    def _hint(self, path: Path) -> str:
        there = self._sockets(path.parent)
        close = nearest(path.name, there)
        if close:
            return f"did you mean {path.parent / close}?"
        found = f"in {path.parent} are {', '.join(there)}; " if there else ""
        return f"{found}start a software VF with: iavfio softvf --socket DIR"


class SocketDirectory(click.Path):
    """A directory for the sockets of a software PF: it is made when it is not there."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("the directory's name is empty", param, ctx)
        length = len(os.fsencode(Path(value).absolute())) + SOCKET_NAME
        if length > SOCKET_PATH:
            self.fail(
                f"the path is too long: a socket's path can have {SOCKET_PATH} bytes, and with its "
                f"name it would have {length}",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


class PciAddress(ParamType):
    """A PCI address, a Kubernetes resource variable, or an interface that sits on one."""

    name = "bdf"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not str(value).strip() or "/" in str(value):
            self.fail(
                f"{value!r} is no PCI address; write 0000:3b:01.0, as 'iavfio list' shows them",
                param,
                ctx,
            )
        return resolved(str(value))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from iavfio.cli import candidates

        return candidates.function(incomplete)
