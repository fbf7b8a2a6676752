# SPDX-License-Identifier: BSD-3-Clause
"""VFIO's modules and nodes."""

from __future__ import annotations

from collections.abc import Iterator

from iavfio.doctor.finding import Seen
from iavfio.doctor.host import Host, HostRow
from iavfio.host import discover
from iavfio.host.changes import Write

NOIOMMU = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"


def _loaded(host: Host) -> bool:
    return (host.tree.drivers / "vfio-pci").exists()


def _module(host: Host) -> Iterator[Seen]:
    if not _loaded(host):
        yield Seen(
            "the driver vfio-pci is not loaded",
            "nothing has asked for it since the last boot",
            "sudo modprobe vfio-pci; for good: echo vfio-pci | sudo tee "
            "/etc/modules-load.d/vfio.conf",
        )


def _node(host: Host) -> Iterator[Seen]:
    there = [host.path(place) for place in ("dev/vfio/vfio", "dev/iommu")]
    if _loaded(host) and not any(path.exists() for path in there):
        yield Seen(
            "neither /dev/vfio/vfio nor /dev/iommu is there",
            "module vfio_iommu_type1 (or iommufd) is not loaded, or a container was not given it",
            "sudo modprobe vfio_iommu_type1; in a container: --device /dev/vfio/vfio",
        )


def _cdev(host: Host) -> Iterator[Seen]:
    if host.path("dev/vfio/vfio").exists() and not host.path("dev/iommu").exists():
        yield Seen(
            "there is no /dev/iommu: VFs are opened by their IOMMU group",
            "this kernel has no iommufd, or it is not loaded; nothing is lost by that",
            "sudo modprobe iommufd, on Linux 6.6 or later",
        )


def _noiommu(host: Host) -> Iterator[Seen]:
    if host.text(NOIOMMU) == "Y":
        path = host.path(NOIOMMU)
        yield Seen(
            "VFIO's mode without an IOMMU is on",
            "a VF that is opened in it can read and write all memory of this host",
            f"echo N | sudo tee {path}",
            (Write(path, "N"),),
        )


def _none_bound(host: Host) -> Iterator[Seen]:
    if host.named:
        return
    found = [function for function in discover(host.tree) if function.is_adaptive_vf]
    if not any(function.uses_vfio for function in found):
        what = f"{len(found)} adaptive VFs are here and" if found else "no adaptive VF is here, so"
        yield Seen(
            f"{what} none is bound to vfio-pci",
            "they are with their kernel driver" if found else "no PF has made one",
            f"iavfio bind {found[0].bdf}" if found else "iavfio list; iavfio vf PF create 2",
        )


ROWS: tuple[HostRow, ...] = (
    HostRow("vfio.module", "warning", _module),
    HostRow("vfio.node", "error", _node),
    HostRow("vfio.cdev", "note", _cdev),
    HostRow("vfio.noiommu", "warning", _noiommu),
    HostRow("vfio.unbound", "note", _none_bound),
)
