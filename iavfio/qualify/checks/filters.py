# SPDX-License-Identifier: BSD-3-Clause
"""What a VF receives and may send, by frames that are sent on purpose."""

from __future__ import annotations

from iavfio.errors import PfRefused
from iavfio.qualify.frames import frame
from iavfio.qualify.outcome import NotRun, Seen, require
from iavfio.qualify.vfs import Vfs

STRANGER = bytes.fromhex("02000000fe01")
GROUP = bytes.fromhex("01005e7f0001")
EVERYBODY = b"\xff" * 6


def addresses(vfs: Vfs, seen: Seen) -> None:
    """A further address is received after it was added, and no more after it was withdrawn."""
    arrived = []
    for extra in ((), (STRANGER,), ()):
        source, _ = vfs.start(extra_macs=extra)
        arrived.append(vfs.arrives(frame(STRANGER, source.mac, 1)))
    if arrived[0] and vfs.sender is vfs.receiver:
        raise NotRun("the wire sends back whatever this VF sends: two VFs are needed")
    require(arrived == [False, True, False], f"before, with, after the filter: {arrived}")


def broadcast(vfs: Vfs, seen: Seen) -> None:
    """Broadcast arrives without being asked for."""
    source, _ = vfs.start()
    require(vfs.arrives(frame(EVERYBODY, source.mac, 1)), "a broadcast did not arrive")


def multicast(vfs: Vfs, seen: Seen) -> None:
    """A group arrives when it was asked for, and all-multicast does what the PF says of it."""
    source, _ = vfs.start()
    before = vfs.arrives(frame(GROUP, source.mac, 1))
    source, _ = vfs.start(extra_macs=(GROUP,))
    asked = vfs.arrives(frame(GROUP, source.mac, 2))
    vfs.start(all_multicast=True)
    every = vfs.arrives(frame(GROUP, source.mac, 3))
    seen.facts |= {"all_multicast_in_force": every, "unasked_group": before}
    if before:
        raise NotRun("the group arrives unasked: this wire or PF filters no multicast")
    require(asked, "a group that was asked for did not arrive")


def promiscuity(vfs: Vfs, seen: Seen) -> None:
    """Promiscuous mode is in force or noted as not in force, and ends when it is switched off."""
    source, _ = vfs.start()
    if vfs.arrives(frame(STRANGER, source.mac, 1)):
        raise NotRun("the wire sends back whatever this VF sends: two VFs are needed")
    try:
        source, _ = vfs.start(promiscuous=True)
        inside = vfs.arrives(frame(STRANGER, source.mac, 2))
    except PfRefused as error:
        seen.facts["promiscuity"] = f"refused: {error.what}"
        return
    seen.facts["promiscuity"] = "in force" if inside else "answered, not in force"
    source, _ = vfs.start()
    after = vfs.arrives(frame(STRANGER, source.mac, 3))
    require(not after, "a stranger's frame still arrives after promiscuous mode was switched off")


def spoof(vfs: Vfs, seen: Seen) -> None:
    """A frame from a foreign source is sent, or the PF counts that it was not."""
    source, sink = vfs.start()
    source.refresh_stats()
    before = source.stats.snapshot().pf
    arrived = vfs.arrives(frame(sink.mac, STRANGER, 1))
    source.refresh_stats()
    after = source.stats.snapshot().pf
    dropped = sum(after[key] - before[key] for key in ("tx_discards", "tx_errors"))
    sent = after["tx_unicast"] - before["tx_unicast"]
    seen.facts |= {"spoof_check": not arrived, "spoofed_counted_as": _where(sent, dropped)}
    require(arrived or dropped or not sent, "a spoofed frame vanished and was counted as sent")


def _where(sent: int, dropped: int) -> str:
    return "discarded" if dropped else "sent" if sent else "nothing"
