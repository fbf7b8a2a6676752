# SPDX-License-Identifier: BSD-3-Clause
"""What `info`, `why` and `list` print with --json, and any command that fails, as types.

A field that is added keeps the version; one that goes or changes its meaning gets a new one.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from iavfio.cli import failure

Count = Annotated[int, Meta(ge=0)]


class FailureRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag=failure.SCHEMA,
):
    """A command that failed; stderr has the same for people."""

    status: Annotated[int, Meta(description="the exit status")]
    error: Annotated[str, Meta(description="what happened")]
    cause: Annotated[str, Meta(description='why, as far as it is known; "": not known')]
    remedy: Annotated[str, Meta(description="what mends it")]


class CapabilitiesRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the PF was asked for, by the names of virtchnl."""

    asked: list[str]
    granted: list[str]
    denied: Annotated[dict[str, str], Meta(description="and what goes without each")]
    unasked: Annotated[list[str], Meta(description="granted although it was not asked for")] = []


class InfoRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.info.vf/1",
):
    """A VF: `iavfio info VF --json`."""

    device: Annotated[str, Meta(description="PCI address or path of the socket")]
    transport: str
    family: str
    numa_node: int | None
    virtchnl: Annotated[str, Meta(description="the version that the PF speaks")]
    mac: str
    mac_from: str
    link: str
    vsi: int
    queue_pairs: Count
    queue_pairs_most: Count
    vectors: Count
    max_frame: Annotated[int, Meta(ge=0, description="bytes with FCS")]
    rss_key_bytes: Count
    rss_table_entries: Count
    rx_descriptor: str
    capabilities: CapabilitiesRecord


class CauseRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cause, and what mends it."""

    name: str
    what: str
    evidence: Annotated[str, Meta(description="what shows it")]
    remedy: str


class WhyRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.why.findings/1",
):
    """What keeps a port from receiving: `iavfio why PORT --json`."""

    port: str
    findings: list[CauseRecord]
    hints: Annotated[list[str], Meta(description="what is good to know where nothing was found")]
    unasked: Annotated[
        str,
        Meta(description='why the process of the port did not answer; "": it did, or is this one'),
    ] = ""


class GroupRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An IOMMU group."""

    number: str
    members: Annotated[dict[str, str], Meta(description="drivers by PCI address")]
    held_by: Annotated[dict[str, str], Meta(description="kernel drivers that keep it shut")]
    noiommu: bool


class InterfaceRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network interface of the kernel."""

    name: str
    mac: str
    mtu: int | None
    up: bool
    speed_mbps: int | None
    uses: list[str]


class FunctionRecord(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="iavfio.list.function/1",
):
    """A PCI function, an item of the array that `iavfio list --json` prints."""

    bdf: str
    kind: Annotated[str, Meta(description="vf, pf, or nic for others")]
    vendor: str
    device: str
    revision: int
    subsystem: str
    name: str
    driver: str | None
    driver_version: str | None
    driver_override: str | None
    unused: Annotated[list[str], Meta(description="drivers that could take it")]
    supported: bool
    active: bool
    interfaces: list[InterfaceRecord]
    numa_node: int | None
    pcie_link: str | None
    pf: Annotated[str | None, Meta(description="PCI address of a VF's PF")]
    vf: Annotated[int | None, Meta(description="number of the VF")]
    vfs: list[str]
    max_vfs: Annotated[int | None, Meta(description="of a PF; null: it is none")]
    iommu_group: GroupRecord | None
    nodes: Annotated[list[str], Meta(description="what VFIO opens")]
