# SPDX-License-Identifier: BSD-3-Clause
"""What can be read before anything is changed, and the negotiation with the PF."""

from __future__ import annotations

import os
import resource

from iavfio._driver import lib
from iavfio.errors import ConfigError
from iavfio.host import Tree, read
from iavfio.port.identity import Identity
from iavfio.pyvfio.device import IRQ_ERR, IRQ_MSIX, IRQ_REQ
from iavfio.pyvfio.opening import normal_bdf
from iavfio.qualify.outcome import NotRun, Seen, require
from iavfio.qualify.vfs import LINK, Vfs
from iavfio.virtchnl.capabilities import cap_names

LEAST_BAR = 0x10000  # bytes that hold every register of docs/spec/registers.md
LOCKED = 64 << 20  # bytes of a pool and rings
RSS_KEYS, RSS_TABLES = (40, 52), (64, 128, 512, 2048)  # docs/spec/virtchnl.md 3


def host(vfs: Vfs, seen: Seen) -> None:
    """The host lets this user open the VFs: driver, group, nodes, memory that may be locked."""
    bdfs = [bdf for target in vfs.targets if (bdf := normal_bdf(target)) is not None]
    if not bdfs:
        raise NotRun("no VF of this host is tested: a software VF needs no preparation")
    for bdf in bdfs:
        function = read(Tree(), bdf)
        require(function.is_adaptive_vf, f"{bdf} is {function.name}, which iavfio does not drive")
        require(function.uses_vfio, f"{bdf} is not bound: sudo iavfio bind {bdf}")
        group = function.group
        require(group is None or not group.holders, f"bind these too: {group and group.holders}")
        usable = [node for node in function.nodes if os.access(node, os.R_OK | os.W_OK)]
        require(usable, f"no node of {bdf} may be opened: sudo chown $USER {function.nodes}")
    allowed, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    free = allowed == resource.RLIM_INFINITY or os.geteuid() == 0
    seen.facts["iommu"] = all(read(Tree(), bdf).group is not None for bdf in bdfs)
    require(free or allowed >= LOCKED, f"{allowed} bytes may be locked: ulimit -l {LOCKED >> 10}")


def identity(vfs: Vfs, seen: Seen) -> None:
    """The device is an adaptive VF, with the BAR and the interrupts that its data sheet names."""
    for target in vfs.targets:
        with vfs.device(target) as device:
            try:
                found = Identity.of(device)
            except ConfigError as error:
                require(False, str(error))
            bar = device.region(0)
            vectors = device.irq(IRQ_MSIX).count
            seen.facts |= {
                "device": f"{found.vendor:04x}:{found.device:04x} rev {found.revision:02x}",
                "family": found.family,
                "bar0_bytes": bar.size,
                "bar0_mapped": bar.mappable,
                "msix_vectors": vectors,
                "noresize": device.irq(IRQ_MSIX).noresize,
                "err_irq": device.irq(IRQ_ERR).count,
                "req_irq": device.irq(IRQ_REQ).count,
                "resettable": device.info().resettable,
                "command_register": f"{device.config.read16(4) & ~0x404:04x}",
            }
            require(bar.size >= LEAST_BAR, f"BAR0 has {bar.size} bytes, not {LEAST_BAR} or more")
            require(vectors >= 2, f"{vectors} MSI-X vectors; a port needs 2")
            require(
                vectors == device.config.msix_count,
                "VFIO and config space name different MSI-X counts",
            )


def negotiation(vfs: Vfs, seen: Seen) -> None:
    """The PF answers, grants what a VF cannot do without, and its numbers make sense."""
    vfs.close()  # the journals of fresh ports begin with the negotiation
    for port in vfs.ports:
        session = port.session
        found = session.resources
        seen.facts |= {
            "granted": cap_names(session.report.granted),
            "denied": " ".join(cap.name for cap in session.report.denied),
            "queue_pairs": found.queue_pairs,
            "vectors": found.max_vectors,
            "max_frame": found.max_frame,
            "rss_key": found.key_size,
            "rss_table": found.lut_size,
            "rxdids": sorted(session.rxdids),
            "mac_given": found.vsi.mac is not None,
            "vsi": found.vsi.vsi_id,
        }
        require(session.has(lib.VC_CAP_L2), "the PF does not grant L2, without which nothing works")
        require(1 <= found.queue_pairs <= 256, f"{found.queue_pairs} queue pairs")
        require(found.max_vectors >= 2, f"{found.max_vectors} vectors; 2 are needed")
        if found.key_size or found.lut_size:
            require(found.key_size in RSS_KEYS, f"an RSS key of {found.key_size} bytes")
            require(found.lut_size in RSS_TABLES, f"an RSS table of {found.lut_size} entries")
        refused = [entry.text for entry in port.journal if entry.direction == "in" and entry.status]
        require(not refused, f"the PF refused: {'; '.join(refused)}")


def link(vfs: Vfs, seen: Seen) -> None:
    """The link of each VF comes up, and the PF says at which speed."""
    for port in vfs.start():
        seen.facts["speed_known"] = port.link.mbps is not None and port.link.mbps > 0
        seen.figures["link_mbps"] = float(port.link.mbps or 0)
        require(port.link.up, f"the link of {port.name} was lost within {LINK:g} s")
