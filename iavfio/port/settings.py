# SPDX-License-Identifier: BSD-3-Clause
"""The desired state of a port: what the user set, apart from what the device has.

After any reset the device is rebuilt from this value, and the result is compared with it
(docs/design.md 7).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

from iavfio._driver import lib
from iavfio.datapath.columns import METADATA
from iavfio.datapath.pair import FCS, ISAS
from iavfio.errors import ConfigError
from iavfio.port.rss import Rss

ETHERNET = 14 + 4 + 4  # header and two VLAN tags: what an MTU leaves out of a frame
MTU_MIN, RING_STEP = 68, int(lib.RING_MULTIPLE)


@dataclass(frozen=True)
class Settings:
    """All that `configure` and the port's setters can set.

    `mtu` counts bytes of the Ethernet payload; `frame` is the longest frame it makes, without FCS.
    `mac` None keeps the PF's, or makes one when the PF gives none. `promiscuous` includes all
    multicast, whatever `all_multicast` says.
    """

    queues: int = 1
    rx_ring: int = 512
    tx_ring: int = 512
    mtu: int = 1500
    metadata: frozenset[str] = frozenset()
    mac: bytes | None = None
    extra_macs: tuple[bytes, ...] = ()
    promiscuous: bool = False
    all_multicast: bool = False
    rss: Rss = field(default_factory=Rss)
    isa: str = "auto"

    @property
    def frame(self) -> int:
        """Longest frame in bytes, without FCS."""
        return self.mtu + ETHERNET

    @property
    def metadata_bits(self) -> int:
        """enum meta_bit."""
        return sum(METADATA[name] for name in self.metadata)


class Change(TypedDict, total=False):
    """What `Port.configure` takes; see there."""

    queues: int
    ring: int
    rx_ring: int
    tx_ring: int
    mtu: int
    metadata: Iterable[str]
    mac: str | bytes | None
    extra_macs: Iterable[str | bytes]
    promiscuous: bool
    all_multicast: bool
    rss: Rss
    isa: str


@dataclass(frozen=True)
class Limits:
    """What the VF can have: queue pairs, descriptors a ring, bytes a frame with FCS."""

    queues: int
    ring: int
    frame: int


def changed(old: Settings, limits: Limits, change: Change) -> Settings:
    """`old` with the change made. Raises ConfigError for what cannot work."""
    ring = change.get("ring")
    new: dict[str, Any] = {
        name: change[name] for name in ("promiscuous", "all_multicast", "rss") if name in change
    }
    if "isa" in change:
        new["isa"] = check_isa(change["isa"])
    if "queues" in change:
        new["queues"] = check_queues(change["queues"], limits.queues)
    rx, tx = change.get("rx_ring", ring), change.get("tx_ring", ring)
    if rx is not None:
        new["rx_ring"] = check_ring("receive", rx, limits.ring)
    if tx is not None:
        new["tx_ring"] = check_ring("send", tx, limits.ring)
    if "mtu" in change:
        new["mtu"] = check_mtu(change["mtu"], limits.frame)
    if "metadata" in change:
        new["metadata"] = check_metadata(change["metadata"])
    if "mac" in change:
        mac = change["mac"]
        new["mac"] = None if mac is None else parse_mac(mac)
    if "extra_macs" in change:
        new["extra_macs"] = tuple(map(parse_extra_mac, change["extra_macs"]))
    settings = replace(old, **new)
    settings.rss.table_of(int(lib.RSS_LUT_SIZE), settings.queues)
    return settings


def check_isa(name: str) -> str:
    """A name of ISAS. Raises ConfigError."""
    if name not in ISAS:
        raise ConfigError(f"there is no code path {name!r}", "", f"choose of: {', '.join(ISAS)}")
    return name


def check_ring(what: str, entries: int, most: int) -> int:
    """A ring size that the PF will take, or ConfigError naming the next.

    See docs/spec/descriptors.md 10.
    """
    low = int(lib.RING_MIN)
    if entries < low or entries > most or entries % RING_STEP:
        near = min(max(-(-entries // RING_STEP) * RING_STEP, low), most)
        raise ConfigError(
            f"a {what} ring of {entries} descriptors is not possible",
            f"multiples of {RING_STEP} from {low} to {most} are",
            f"use {near}",
        )
    return entries


def check_queues(queues: int, most: int, remedy: str = "") -> int:
    """A number of queue pairs that this VF can have."""
    if not 1 <= queues <= most:
        raise ConfigError(
            f"{queues} queue pairs are not possible",
            f"this VF can have 1 to {most}",
            remedy or f"use queues={most}",
        )
    return queues


def check_mtu(mtu: int, max_frame: int) -> int:
    """An MTU whose frames the PF lets through; `max_frame` is the PF's limit, a frame size."""
    most = max_frame - ETHERNET - FCS
    if not MTU_MIN <= mtu <= most:
        raise ConfigError(
            f"an MTU of {mtu} is not possible",
            f"the PF's longest frame is {max_frame} bytes: {most} and {ETHERNET + FCS} around it",
            f"use {MTU_MIN} to {most}",
        )
    return mtu


def check_metadata(wanted: Iterable[str]) -> frozenset[str]:
    """Names of metadata columns."""
    names = frozenset([wanted] if isinstance(wanted, str) else wanted)
    unknown = sorted(names - METADATA.keys())
    if unknown:
        raise ConfigError(
            f"there is no metadata {unknown[0]!r}", "", f"choose of: {', '.join(METADATA)}"
        )
    return names


def parse_mac(text: str | bytes) -> bytes:
    """A unicast MAC address from "02:00:00:00:00:01" or 6 bytes. Raises ConfigError."""
    if isinstance(text, bytes):
        raw = text
    else:
        try:
            raw = bytes.fromhex(text.replace(":", "").replace("-", ""))
        except ValueError:
            raw = b""
    if len(raw) != 6:
        raise ConfigError(f"{text!r} is no MAC address", "", "write it as 02:00:00:00:00:01")
    if raw[0] & 1 or not any(raw):
        raise ConfigError(
            f"{raw.hex(':')} cannot be a port's address", "it is a group address or all zero", ""
        )
    return raw


def parse_extra_mac(text: str | bytes) -> bytes:
    """A unicast or multicast address to receive. Raises ConfigError."""
    try:
        raw = text if isinstance(text, bytes) else bytes.fromhex(text.replace(":", ""))
    except ValueError:
        raw = b""
    if len(raw) != 6 or not any(raw) or raw == b"\xff" * 6:
        raise ConfigError(
            f"{text!r} cannot be received as an extra address",
            "it is no MAC address, or broadcast, which is received anyway",
            "write it as 01:00:5e:00:00:01",
        )
    return raw
