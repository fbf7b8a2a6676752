# SPDX-License-Identifier: BSD-3-Clause
"""Types of options and arguments: each refuses what its command could not use, and says why."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from iavfio.arguments import Amount, Range, nearest, real, vf_mac, whole
from iavfio.errors import ConfigError
from iavfio.logs import on_one_line
from iavfio.ranges import CPU, FRAME, IMIX, ISA, MOST_SIZES, SHARE

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
    Choice = click.Choice[str]
else:
    ParamType, Choice = click.ParamType, click.Choice  # no generic classes before click 8.2

LEAST_FILE = 100_000  # bytes of a rotated file


class Word(Choice):
    """One of a few words, written exactly so; another one is told the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        words = [str(choice) for choice in self.choices]
        close = nearest(value, words)
        if value not in words and close:
            self.fail(
                f"{value!r} is not one of {', '.join(map(repr, words))}; did you mean {close}?",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


def device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say how a device is opened; see `iavfio.open`."""
    for option in (
        click.option(
            "--vf-token", type=Token(), metavar="UUID", help="Where vfio-pci has the PF: its token."
        ),
        click.option(
            "--vfio-mode",
            type=Word(["auto", "cdev", "group"]),
            default="auto",
            show_default=True,
            help="How a PCI device is opened: by its own node, or by its IOMMU group.",
        ),
        click.option(
            "--unsafe-noiommu",
            is_flag=True,
            help="Open a VF that has no IOMMU: its DMA can reach all memory of this host.",
        ),
    ):
        command = option(command)
    return command


def device_arguments(options: dict[str, Any], target: str, *more: str) -> dict[str, Any]:
    """What `device_options` took, as arguments of `iavfio.open`; none where no target is a PCI
    device, to which they belong.
    """
    from iavfio.opening import is_pci

    if not any(map(is_pci, (target, *more))):
        return {}
    return {
        "mode": options["vfio_mode"],
        "vf_token": options["vf_token"],
        "unsafe_noiommu": options["unsafe_noiommu"],
    }


class Number(ParamType):
    """A number in the range and unit that `span` declares."""

    def __init__(self, span: Range | Amount, metavar: str = "N") -> None:
        self.span = span
        self.name = metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value  # a default
        integer = isinstance(self.span, Range)
        try:
            number = whole(value) if integer else real(value)
        except ValueError:
            kind = "a whole number" if integer else "a number"
            plain = " in plain digits" if any(map(str.isdecimal, value)) else ""
            self.fail(f"{value!r} is not {kind}{plain}; it takes {self.span}", param, ctx)
        try:
            return self.span("value", number)
        except ConfigError:
            whose = (
                f" ({self.span.limit})" if isinstance(self.span, Range) and self.span.limit else ""
            )
            text = f"{value} is out of range; it takes {self.span}{whose}"
            if isinstance(self.span, Range) and param is not None:
                text += f"; use {param.opts[-1]} {self.span.nearest(int(number))}"
            self.fail(text, param, ctx)


class CpuList(ParamType):
    """CPUs on which this process may run, as in "2,3" or "0-3,8"; each once."""

    name = "cpus"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        cpus: list[int] = []
        for part in value.split(","):
            found = re.fullmatch(r"\s*(\d{1,20})(?:-(\d{1,20}))?\s*", part, re.ASCII)
            first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
            if first > last:
                self.fail(
                    f"{value!r} names no CPUs; write numbers, --cpus 2,3, or ranges, --cpus 0-3",
                    param,
                    ctx,
                )
            cpus += range(first, min(last, max(first, CPU.high)) + 1)
        usable = os.sched_getaffinity(0)
        for cpu in cpus:
            if cpu not in usable:
                mine = ", ".join(map(str, sorted(usable)))
                self.fail(f"CPU {cpu} cannot be used; this process may run on {mine}", param, ctx)
            if cpus.count(cpu) > 1:
                self.fail(f"CPU {cpu} is named twice; each takes one worker", param, ctx)
        return tuple(cpus)


class FrameSizes(ParamType):
    """Frame sizes with FCS: one, a list, or "imix"."""

    name = "sizes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        if value == "imix":
            return IMIX
        if nearest(value, ["imix"]):
            self.fail(f"{value!r} is no frame size; did you mean imix?", param, ctx)
        sizes = []
        for part in value.split(","):
            if not re.fullmatch(r"\s*\d{1,9}\s*", part, re.ASCII):
                self.fail(
                    f"{value!r} is no frame size; write 64, a list as 64,1518, or imix", param, ctx
                )
            sizes.append(int(part))
            if not FRAME.low <= sizes[-1] <= FRAME.high:
                self.fail(f"a frame of {part} bytes is out of range; it has {FRAME}", param, ctx)
        if len(sizes) > MOST_SIZES:
            self.fail(
                f"{len(sizes)} frame sizes are too many; {MOST_SIZES} can be used", param, ctx
            )
        return tuple(sizes)


class Shares(ParamType):
    """Shares of all packets: one, or a list, each once."""

    name = "shares"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        one = Number(SHARE)
        return tuple(dict.fromkeys(one.convert(part, param, ctx) for part in value.split(",")))


class Mac(ParamType):
    """A unicast MAC address."""

    name = "mac"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        if isinstance(value, bytes):
            return value
        try:
            return vf_mac("address", value)
        except ConfigError as wrong:
            self.fail(
                f"{value!r} cannot be used: {wrong.cause}; write 02:00:00:00:00:01", param, ctx
            )


class CodePath(ParamType):
    """A code path of the driver that this CPU can run."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in ISA.words:
            close = nearest(value, ISA.words)
            hint = f"did you mean {close}?" if close else f"choose of {', '.join(ISA.words)}"
            self.fail(f"{value!r} is no code path; {hint}", param, ctx)
        if value != "auto":
            from iavfio.datapath.isa import usable

            if value not in usable():
                self.fail(
                    f"this CPU cannot run {value}; it can run {', '.join(usable())}", param, ctx
                )
        return str(value)


class OutputFile(click.Path):
    """A file that a command writes: its directory exists, and is not made."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False, writable=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        if not path.parent.is_dir():
            self.fail(f"{path} cannot be written: there is no directory {path.parent}", param, ctx)
        return super().convert(value, param, ctx)


class CaptureFile(ParamType):
    """A file that a capture writes, or - for standard output."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return "-" if value == "-" else str(OutputFile().convert(value, param, ctx))


class Words(ParamType):
    """A text that `parse`, a function "module:name", makes something of or refuses."""

    def __init__(self, name: str, parse: str) -> None:
        self.name = name
        self._module, _, self._function = parse.partition(":")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return getattr(importlib.import_module(self._module), self._function)(value)
        except ConfigError as wrong:
            self.fail(on_one_line(str(wrong)), param, ctx)


class Rotation(ParamType):
    """When a new file is begun: a size ("size", bytes) or an age ("seconds", seconds)."""

    name = "rotation"
    UNITS: ClassVar[dict[str, tuple[str, int]]] = {
        "K": ("size", 1000),
        "M": ("size", 1000**2),
        "G": ("size", 1000**3),
        "s": ("seconds", 1),
        "min": ("seconds", 60),
        "h": ("seconds", 3600),
    }

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,9})(K|M|G|s|min|h)", str(value), re.ASCII)
        if not found or not int(found[1]):
            self.fail(
                f"{value!r} is no size or time; write 500K, 100M or 2G bytes, or 60s, 5min or 1h",
                param,
                ctx,
            )
        kind, unit = self.UNITS[found[2]]
        number = int(found[1]) * unit
        if kind == "size" and number < LEAST_FILE:
            self.fail(f"{value} is too small for a file; it takes 100K or more", param, ctx)
        return kind, number


class Token(ParamType):
    """The VF token of a PF that vfio-pci has: a UUID."""

    name = "uuid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from uuid import UUID

        try:
            return str(UUID(str(value)))
        except ValueError:
            self.fail(f"{value!r} is no VF token; a token is a UUID", param, ctx)


class PortName(ParamType):
    """A name for a port, under which `iavfio stats` finds it."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}", str(value)):
            self.fail(
                f"{value!r} is no port name; it has 1 to 64 letters, digits and . _ : + -, and "
                "begins with a letter or digit",
                param,
                ctx,
            )
        return str(value)
