# SPDX-License-Identifier: BSD-3-Clause
"""VLAN tags: where the tag of a received frame is told, and which VLANs are received."""

from __future__ import annotations

import time
from collections.abc import Sequence

from iavfio._driver import lib
from iavfio.errors import ConfigError, NotGranted, PfRefused
from iavfio.port.port import Port
from iavfio.port.probe import within
from iavfio.qualify.frames import frame, number_of
from iavfio.qualify.outcome import Failed, NotRun, Seen, require
from iavfio.qualify.vfs import ABSENCE, ARRIVAL, Vfs
from iavfio.virtchnl.messages.vlan import ADD_VLAN, DEL_VLAN
from iavfio.virtchnl.messages.vlan_v2 import ADD_VLAN_V2, DEL_VLAN_V2, Tag, VlanFilter

TPID = b"\x81\x00"
OURS, OTHER, STRANGE = 100, 300, 200  # with a filter; with one that stays; without one
TCIS = (OURS, 0x6000 | OURS, 0xF000 | OURS)  # priorities 0, 3, and 7 with the DEI bit
ANSWER = 3.0  # seconds in which the PF answers, and counts what was sent
Arrived = dict[int, tuple[bytes, int | None]]  # number -> frame, and the tag in the column


def vlan(vfs: Vfs, seen: Seen) -> None:
    """Tags are exact in the column or in the frame, and filters hold back where the PF has them."""
    for port in vfs.ports:
        if not port.session.may_strip_vlan:
            raise NotRun(f"the PF offers {port.name} no VLAN tags: is the VF in a port VLAN?")
    seen.facts |= _capabilities(vfs.receiver)
    formats = ["auto"] + ["legacy"] * bool(vfs.receiver.session.rxdid)
    try:
        source, sink = vfs.start(metadata=("vlan",))
        refusal = set_filters(sink, [OTHER]) or set_filters(sink, [OURS])
        refusal = refusal or set_filters(source, [OURS, OTHER, STRANGE])
        for descriptors in formats:
            _stripped(vfs, descriptors)
            _unstripped(vfs, descriptors)
        seen.facts["filtering"] = refusal or _filtering(vfs)
    finally:
        vfs.close()  # the filters end with the reset of the next opening


def _capabilities(port: Port) -> dict[str, object]:
    caps = port.session.vlan_caps
    if caps is None:
        return {"capability": "VLAN"}
    words = {"filters": caps.filtering, "stripping": caps.stripping, "insertion": caps.insertion}
    return {"capability": "VLAN_V2", "most_filters": caps.max_filters} | {
        name: f"outer {word.outer:#x}, inner {word.inner:#x}" for name, word in words.items()
    }


# ---- tags


def _stripped(vfs: Vfs, descriptors: str) -> None:
    """Checks that tags are in the column and nowhere else, and none where none was sent."""
    source, sink = vfs.start(metadata=("vlan",), descriptors=descriptors)
    name = f"{descriptors} descriptors, stripping on"
    plain = [frame(sink.mac, source.mac, i, 60 + i) for i in range(len(TCIS) + 1)]
    got = _exchange(source, sink, [plain[-1], *map(tagged, plain, TCIS)])
    for number, tci in [(len(TCIS), None), *enumerate(TCIS)]:
        what = "a frame without a tag" if tci is None else f"a frame with tag {tci:#06x}"
        require(number in got, f"{name}: {what} did not arrive")
        data, told = got[number]
        kept = tci is not None and data == tagged(plain[number], tci)
        require(not kept, f"{name}: the tag of {what} was not stripped")
        require(data == plain[number], f"{name}: {what} was changed on the way")
        require(
            told == tci,
            f"{name}: {what} came with " + ("none" if told is None else f"{told:#06x}"),
        )


def _unstripped(vfs: Vfs, descriptors: str) -> None:
    """Checks that without the column the tag stays in the frame."""
    source, sink = vfs.start(descriptors=descriptors)
    name = f"{descriptors} descriptors, stripping off"
    plain = [frame(sink.mac, source.mac, i, 60 + i) for i in range(len(TCIS))]
    got = _exchange(source, sink, list(map(tagged, plain, TCIS)))
    for number, tci in enumerate(TCIS):
        what = f"a frame with tag {tci:#06x}"
        require(number in got, f"{name}: {what} did not arrive")
        data = got[number][0]
        require(data != plain[number], f"{name}: {what} came without it")
        require(data == tagged(plain[number], tci), f"{name}: {what} was changed on the way")


def tagged(data: bytes, tci: int) -> bytes:
    """The frame with an 8100 tag."""
    return data[:12] + TPID + tci.to_bytes(2, "big") + data[12:]


def _exchange(
    source: Port, sink: Port, frames: Sequence[bytes], seconds: float = ARRIVAL
) -> Arrived:
    """Sends `frames` and collects those of them that arrive within `seconds`, by their numbers."""
    with source.tx[0].build(frames) as burst:
        taken = source.tx[0].send(burst)
    if taken < len(frames):
        raise Failed(f"the device took {taken} of {len(frames)} frames")
    column = "vlan" in sink.settings.metadata
    got: Arrived = {}
    end = time.monotonic() + seconds
    while len(got) < len(frames) and time.monotonic() < end:
        with sink.rx[0].recv(timeout=ABSENCE / 3) as burst:
            for i in range(len(burst)):
                data = bytes(burst.bytes(i))
                bare = data[:12] + data[16:] if data[12:14] == TPID else data
                number = number_of(bare)
                if number is not None:
                    told = column and burst.flags[i] & lib.FLAG_VLAN
                    got[number] = data, int(burst.vlan[i]) if told else None
    return got


# ---- filters


def set_filters(port: Port, vids: Sequence[int], add: bool = True) -> str:
    """Adds or withdraws filters of the PF; returns "" or why it has none."""
    session = port.session
    caps = session.vlan_caps
    with port.control.status.exclusively(ANSWER), session.within(ANSWER):
        try:
            if caps is None:
                session.client.ask((ADD_VLAN if add else DEL_VLAN)(vids))
                return ""
            offered = caps.filtering.outer or caps.filtering.inner
            if not offered & lib.VC_VLAN_ETHERTYPE_8100:
                return "none offered"
            outer = bool(caps.filtering.outer)
            wanted = [
                VlanFilter(outer=Tag(vid)) if outer else VlanFilter(inner=Tag(vid)) for vid in vids
            ]
            session.client.ask((ADD_VLAN_V2 if add else DEL_VLAN_V2)(wanted))
        except (PfRefused, NotGranted, ConfigError) as error:
            return f"refused: {error.what}"
    return ""


def _filtering(vfs: Vfs) -> str:
    """Whether a VLAN without a filter is held back. Raises Failed for one that lingers."""
    source, sink = vfs.sender, vfs.receiver
    if source is sink:
        return "not tried: two VFs are needed"
    source.refresh_stats()
    before = source.stats.snapshot().pf["tx_unicast"]
    if _arrives(source, sink, STRANGE):
        return "none"

    def left() -> bool:
        source.refresh_stats()
        return source.stats.snapshot().pf["tx_unicast"] > before

    if not within(ANSWER, left):
        return "not known: the PF does not let the sender send it"
    refusal = set_filters(sink, [OURS], False)
    if refusal:
        raise Failed(f"a VLAN filter cannot be withdrawn: {refusal}")
    lingers = _arrives(source, sink, OURS)
    require(not lingers, "a frame for a VLAN still arrives after its filter was withdrawn")
    require(_arrives(source, sink, OTHER), "a frame for a VLAN with a filter does not arrive")
    return "in force"


def _arrives(source: Port, sink: Port, vid: int) -> bool:
    data = tagged(frame(sink.mac, source.mac, vid), vid)
    return bool(_exchange(source, sink, [data], ABSENCE))
