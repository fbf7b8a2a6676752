# SPDX-License-Identifier: BSD-3-Clause
"""Going through all rows: for the host, then for each VF."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from iavfio.doctor import (
    cpus,
    group,
    hugepages,
    iommu,
    leftovers,
    memlock,
    numa,
    pcie,
    permissions,
    pf,
    vfio,
)
from iavfio.doctor.finding import ORDER, Finding, Seen, Severity
from iavfio.doctor.host import Host, HostRow, Vf, VfRow
from iavfio.errors import IavfioError
from iavfio.host import discover, read

VFIO_ROWS: tuple[HostRow, ...] = (*iommu.ROWS, *vfio.ROWS, *memlock.ROWS)
HOST_ROWS: tuple[HostRow, ...] = (*hugepages.ROWS, *cpus.ROWS, *leftovers.ROWS)
VF_ROWS: tuple[VfRow, ...] = (
    *group.ROWS,
    *permissions.ROWS,
    *hugepages.VF_ROWS,
    *numa.VF_ROWS,
    *pf.VF_ROWS,
    *pcie.VF_ROWS,
)


@dataclass(frozen=True)
class Report:
    """Findings, the worst first; `devices` that were looked at; `unread`: what, and why."""

    findings: tuple[Finding, ...]
    devices: tuple[str, ...]
    unread: dict[str, str]

    @property
    def hindered(self) -> bool:
        """Whether there is an error or a warning."""
        return any(finding.hinders for finding in self.findings)


def names() -> list[str]:
    """The names of all findings that there are."""
    return [row.name for row in (*VFIO_ROWS, *HOST_ROWS)] + [row.name for row in VF_ROWS]


def examine(host: Host, bdfs: Sequence[str] | None = None) -> Report:
    """Looks at the host and at these functions, by default at all VFs that vfio-pci has.

    Nothing is changed and nothing is opened. What this user may not read is in the report, and
    a row that fails at it finds nothing.
    """
    chosen = (
        [f for f in discover(host.tree) if f.is_adaptive_vf and f.uses_vfio]
        if bdfs is None
        else [read(host.tree, bdf) for bdf in bdfs]
    )
    found: list[Finding] = []
    for row in (*VFIO_ROWS, *HOST_ROWS) if host.uses_vfio else HOST_ROWS:
        found += _look(host, row.name, row.severity, "", partial(row.look, host))
    for function in chosen:
        vf = Vf(host, function)
        for each in VF_ROWS:
            found += _look(host, each.name, each.severity, vf.bdf, partial(each.look, vf))
    found.sort(key=lambda finding: ORDER.index(finding.severity))
    return Report(tuple(found), tuple(f.bdf for f in chosen), dict(host.unread))


def named(bdfs: Sequence[str]) -> list[str]:
    """Findings on the running host and these functions by severity, name and address: fit for a
    report that others read, because it has no words of the host's own.
    """
    host = Host(named=True, uses_vfio=bool(bdfs))
    there = [bdf for bdf in bdfs if (host.tree.devices / bdf).exists()]
    return [
        f"{found.severity}: {found.name} {found.device}".strip()
        for found in examine(host, there).findings
    ]


def _look(
    host: Host,
    name: str,
    severity: Severity,
    device: str,
    look: Callable[[], Iterable[Seen]],
) -> list[Finding]:
    try:
        return [Finding(name, severity, device, seen) for seen in look()]
    except (IavfioError, OSError, ValueError, ArithmeticError) as error:
        told = error.what if isinstance(error, IavfioError) else str(error)
        host.unread[f"{name} {device}".strip()] = told
        return []
