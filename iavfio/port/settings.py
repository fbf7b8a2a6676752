# SPDX-License-Identifier: BSD-3-Clause
"""The desired state of a port: what the user set, apart from what the device has.

`Change` declares each setting once, with its type, range and unit. After any reset the device is
rebuilt from `Settings`, and the result is compared with it (docs/design.md 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypedDict, get_args, get_type_hints

from iavfio._driver import lib
from iavfio.arguments import (
    Check,
    Choice,
    Flag,
    Instance,
    Names,
    Range,
    received_macs,
    unknown,
    vf_mac,
    wrong_type,
)
from iavfio.datapath.columns import METADATA
from iavfio.datapath.isa import check_isa
from iavfio.datapath.pair import FCS
from iavfio.errors import ConfigError, DeviceError
from iavfio.port.rss import Rss
from iavfio.ranges import MTU, QUEUES, RING
from iavfio.virtchnl.capabilities import cap_names

ETHERNET = 14 + 4 + 4  # header and two VLAN tags: what an MTU leaves out of a frame

DESCRIPTORS = ("auto", "legacy")  # auto: flexible ones where the PF offers them

# A column stays 0 unless the PF grants one of these capabilities.
NEEDS: dict[str, int] = {
    "rss": lib.VC_CAP_RSS_PF,
    "vlan": lib.VC_CAP_VLAN | lib.VC_CAP_VLAN_V2,
    "mark": lib.VC_CAP_FDIR_PF,
    "time": lib.VC_CAP_PTP,
}


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
    descriptors: str = "auto"

    @property
    def frame(self) -> int:
        """Longest frame in bytes, without FCS."""
        return self.mtu + ETHERNET

    @property
    def metadata_bits(self) -> int:
        """enum meta_bit."""
        return sum(METADATA[name] for name in self.metadata)


def own_address(name: str, value: Any) -> bytes | None:
    """A port's own MAC address; None for "auto", the PF's or one that is made here."""
    if isinstance(value, str) and value == "auto":
        return None
    if value is None:
        raise wrong_type(name, value, "a MAC address", "'auto' goes back to the PF's address")
    return vf_mac(name, value)


class Change(TypedDict, total=False):
    """What `Port.configure` takes, each setting with its check; see there."""

    queues: Annotated[int, QUEUES]
    ring: Annotated[int, RING]
    rx_ring: Annotated[int, RING]
    tx_ring: Annotated[int, RING]
    mtu: Annotated[int, MTU]
    metadata: Annotated[Iterable[str], Names("metadata", tuple(METADATA))]
    mac: Annotated[str | bytes, own_address]
    extra_macs: Annotated[Iterable[str | bytes], received_macs]
    promiscuous: Annotated[bool, Flag()]
    all_multicast: Annotated[bool, Flag()]
    rss: Annotated[Rss, Instance(Rss, "rss=iavfio.Rss.make(symmetric=True)")]
    isa: Annotated[str, check_isa]
    descriptors: Annotated[str, Choice("descriptor format", DESCRIPTORS)]


CHECKS: dict[str, Check[Any]] = {
    name: get_args(hint)[1] for name, hint in get_type_hints(Change, include_extras=True).items()
}


@dataclass(frozen=True)
class Limits:
    """What this VF can have, as its PF told it, within what iavfio can drive.

    `queues`: pairs, with what REQUEST_QUEUES may give; `ring`: descriptors; `frame`: bytes with
    FCS; `rss_key`, `rss_table`: bytes and entries; `granted`: the word of capabilities.
    """

    queues: int
    ring: int
    frame: int
    rss_key: int
    rss_table: int
    granted: int

    @property
    def mtu(self) -> int:
        """The largest MTU whose frames the PF lets through."""
        return min(self.frame - ETHERNET - FCS, MTU.high)

    @property
    def checks(self) -> dict[str, Check[Any]]:
        """The check of each setting, its range no wider than what this VF can have."""
        ring = _narrowed(RING, self.ring, "this card has no longer rings")
        return CHECKS | {
            "queues": _narrowed(
                QUEUES,
                self.queues,
                f"the PF gives this VF {self.queues} and does not grant REQ_QUEUES, by which it "
                "could ask for more",
            ),
            "ring": ring,
            "rx_ring": ring,
            "tx_ring": ring,
            "mtu": _narrowed(
                MTU,
                self.mtu,
                f"the PF's longest frame has {self.frame} bytes: the MTU and "
                f"{ETHERNET + FCS} around it",
            ),
        }

    def first_settings(self) -> Settings:
        """The settings of a port that was just opened.

        Raises DeviceError when the PF allows no frame that a port could work with.
        """
        if self.mtu < MTU.low:
            raise DeviceError(
                f"the PF allows frames of at most {self.frame} bytes",
                f"a port needs {MTU.low + ETHERNET + FCS} at least",
                "raise the PF's MTU on the host",
            )
        return Settings(mtu=min(Settings.mtu, self.mtu))


def _narrowed(span: Range, high: int, limit: str) -> Range:
    """The range up to `high`; `limit` says whose limit that is."""
    return span if high >= span.high else replace(span, high=high, limit=limit)


def changed(old: Settings, limits: Limits, change: Mapping[str, Any]) -> Settings:
    """`old` with the change made. Raises ConfigError for what cannot work."""
    checks = limits.checks
    for name in change:
        if name not in checks:
            raise unknown("setting", name, checks)
    new = {name: checks[name](name, value) for name, value in change.items()}
    if "ring" in new:
        ring = new.pop("ring")
        new = {"rx_ring": ring, "tx_ring": ring} | new
    settings = replace(old, **new)
    if "metadata" in new:
        _fits_metadata(settings, limits)
    if "rss" in new:
        _fits_rss(settings, limits)
    if "rss" in new or "queues" in new:
        settings.rss.table_of(limits.rss_table, settings.queues)
    return settings


def _fits_metadata(settings: Settings, limits: Limits) -> None:
    for name in sorted(settings.metadata):
        needed = NEEDS.get(name, 0)
        if needed and not limits.granted & needed:
            raise ConfigError(
                f"metadata {name!r} is not possible",
                f"the PF did not grant {' or '.join(cap_names(needed).split())}, without which "
                "the column would always be 0",
                "leave it out",
            )


def _fits_rss(settings: Settings, limits: Limits) -> None:
    rss = settings.rss
    if not limits.granted & lib.VC_CAP_RSS_PF and rss != Rss():
        raise ConfigError(
            "RSS cannot be set",
            "the PF did not grant RSS_PF: all packets arrive in queue 0",
            "leave rss out",
        )
    if rss.tunnels and not limits.granted & lib.VC_CAP_ADV_RSS_PF:
        raise ConfigError(
            f"RSS cannot spread {', '.join(sorted(rss.tunnels))}",
            "the PF did not grant ADV_RSS_PF, which ice grants to VFs of an E810, and no PF to VFs "
            "of an X710 or X722",
            "leave tunnels out; a handler that answers REDIRECT by its own hash spreads any "
            "traffic: docs/guides/handlers.md",
        )
    if rss.key is not None and len(rss.key) != limits.rss_key:
        raise ConfigError(
            f"an RSS key of {len(rss.key)} bytes is not possible",
            f"this PF takes keys of {limits.rss_key} bytes",
            f"give {limits.rss_key} bytes, or leave key out for the default one",
        )
    if rss.lut is not None and len(rss.lut) > limits.rss_table:
        raise ConfigError(
            f"an RSS table of {len(rss.lut)} entries is not possible",
            f"this PF's table has {limits.rss_table}; a shorter one is repeated",
            f"give at most {limits.rss_table}",
        )
