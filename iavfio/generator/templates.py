# SPDX-License-Identifier: BSD-3-Clause
"""Frames that somebody else made: of a capture file, or objects that have bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iavfio.arguments import several, wrong_type
from iavfio.capture.packet_file import load
from iavfio.capture.sending import SHORTEST
from iavfio.errors import ConfigError


@dataclass(frozen=True)
class Template:
    """Frame i is `data[offsets[i] : offsets[i] + lengths[i]]`, without FCS."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint32]


def from_file(path: str | PathLike[str]) -> Template:
    """The frames of a pcap or pcapng file.

    Raises ConfigError when it has none, or some that cannot be sent, and what `load` raises.
    """
    if not isinstance(path, str | PathLike) or not str(path):
        raise wrong_type("pcap", path, "the name of a capture file")
    frames = load(Path(path))
    cut = int(np.count_nonzero(frames.lengths < frames.wire))
    if cut or frames.others:
        raise ConfigError(
            f"{path} has frames that cannot be sent",
            f"{cut} of them are cut, {frames.others} are no Ethernet",
            "iavfio replay leaves such frames out; or filter the file: tcpdump -r IN -w OUT",
        )
    return _checked(Template(frames.data, frames.offsets, frames.lengths), str(path))


def from_frames(given: Sequence[Any] | None) -> Template:
    """The frames of a list of bytes, or objects with __bytes__, as scapy's. Raises ConfigError."""
    items = []
    for i, item in enumerate(several("frames", given, "frames")):
        if isinstance(item, str | int) or not (
            hasattr(type(item), "__bytes__") or isinstance(item, bytearray | memoryview)
        ):
            raise wrong_type(f"frames[{i}]", item, "bytes, or an object with __bytes__")
        try:
            items.append(bytes(item))
        except Exception as error:  # whatever somebody else's code raises
            raise ConfigError(f"frames[{i}] has no bytes", f"its library says: {error}") from error
    lengths = np.array([len(item) for item in items], dtype=np.uint32)
    ends = np.cumsum(lengths, dtype=np.uint64)
    data = np.frombuffer(bytearray(b"".join(items)), dtype=np.uint8)
    return _checked(Template(data, ends - lengths, lengths), "frames")


def _checked(template: Template, whose: str) -> Template:
    if not len(template.lengths):
        raise ConfigError(f"{whose}: there is no frame to send", "the template is empty")
    if int(template.lengths.min()) < SHORTEST:
        raise ConfigError(
            f"{whose}: frame {int(template.lengths.argmin())} cannot be sent",
            f"it has {int(template.lengths.min())} bytes, and a device takes {SHORTEST} or more",
            "pad it to 60 bytes",
        )
    return template
