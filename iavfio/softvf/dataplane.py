# SPDX-License-Identifier: BSD-3-Clause
"""What the control plane may do to the data plane in C.

Every call takes the plane's lock, so the data thread stands between two rounds: whatever a call
unmaps, disables or resets is so when the call returns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from iavfio.softvf._device import ffi, lib
from iavfio.softvf.packed_config import packed
from iavfio.softvf.personality import Tunnel
from iavfio.softvf.vf_config import VfConfig

Writeback = Literal["hardware", "immediate"]
SPOILS = {
    "lose": lib.SOFTVF_SPOIL_LOSE,
    "corrupt": lib.SOFTVF_SPOIL_CORRUPT,
    "twice": lib.SOFTVF_SPOIL_TWICE,
    "hash": lib.SOFTVF_SPOIL_HASH,
    "checksum": lib.SOFTVF_SPOIL_CHECKSUM,
    "uncounted": lib.SOFTVF_SPOIL_UNCOUNTED,
    "tag": lib.SOFTVF_SPOIL_TAG,
    "tag_kept": lib.SOFTVF_SPOIL_TAG_KEPT,
    "tag_lost": lib.SOFTVF_SPOIL_TAG_LOST,
    "tagged_lost": lib.SOFTVF_SPOIL_TAGGED_LOST,
}
STAT_NAMES = (
    "rx_bytes",
    "rx_unicast",
    "rx_multicast",
    "rx_broadcast",
    "rx_discards",
    "rx_unknown_protocol",
    "tx_bytes",
    "tx_unicast",
    "tx_multicast",
    "tx_broadcast",
    "tx_discards",
    "tx_errors",
)
WIRE_NAMES = tuple(name for name, _ in ffi.typeof("struct softvf_wire_stats").fields)
WIRE = -1  # the VF of an event that is of the wire
EVENT_KINDS = {0: "violation", 1: "mdd", 2: "uplink", 3: "note"}


@dataclass(frozen=True)
class PlaneEvent:
    """Something that the data thread has to say: of which VF and kind, in words, with the rule."""

    vf: int
    kind: str
    rule: str
    text: str
    count: int = 1  # how many events this one stands for: one that repeats is held back for a while


class DataPlane:
    """Rings, switch, interrupts and uplink of all VFs.

    The constructor raises ValueError for an uplink that cannot be opened, and OSError in words when
    the host refuses memory, files or interrupts; the methods raise OSError with the errno of the
    call in C.
    """

    def __init__(
        self,
        vfs: int,
        *,
        bar_size: int,
        uplink: str,
        writeback: Writeback = "hardware",
        flex: bool = True,
        e810_itr: bool = True,
        wb_group: int = 0,
        wb_on_itr: bool = True,
        rx_tail_step: int = 1,
        tails_stay: bool = False,
        memory_gib: int = 64,
    ) -> None:
        error = ffi.new("char[]", 256)
        card: Any = ffi.new("struct softvf_card *")
        card.bar_size, card.wb_group, card.rx_tail_step = bar_size, wb_group, rx_tail_step
        card.dma_bytes = memory_gib << 30
        card.tails_stay = int(tails_stay)
        card.flex, card.e810_itr, card.wb_on_itr = int(flex), int(e810_itr), int(wb_on_itr)
        immediate = writeback == "immediate"
        wire = os.fsencode(uplink)  # the path in it may hold any bytes
        self._plane: Any = lib.plane_new(vfs, card, wire, immediate, error, len(error))
        if self._plane == ffi.NULL:
            words = ffi.string(error).decode(errors="replace")
            raise OSError(ffi.errno, words) if ffi.errno else ValueError(words)
        self.vfs, self.memory_gib = vfs, memory_gib
        self.event_fd = int(lib.plane_event_fd(self._plane))

    def start(self) -> None:
        """Starts the data thread."""
        _check(lib.plane_start(self._plane))

    def stop(self) -> None:
        """Stops the data thread and frees everything."""
        plane, self._plane = self._plane, ffi.NULL
        lib.plane_free(plane)

    @contextmanager
    def _locked(self) -> Iterator[Any]:
        lib.plane_lock(self._plane)
        try:
            yield self._plane
        finally:
            lib.plane_unlock(self._plane)

    def events(self) -> list[PlaneEvent]:
        """Returns what happened since the last call, oldest first; clears event_fd."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.event_fd)
        out = []
        event: Any = ffi.new("struct softvf_event *")
        with self._locked() as plane:
            while lib.plane_next_event(plane, event):
                out.append(
                    PlaneEvent(
                        WIRE if event.vf == lib.SOFTVF_NO_VF else event.vf,
                        EVENT_KINDS.get(event.kind, "violation"),
                        ffi.string(event.rule).decode(errors="replace"),
                        ffi.string(event.text).decode(errors="replace"),
                        event.count,
                    )
                )
        return out

    def condemned(self) -> list[int]:
        """VFs whose clients took memory away that they had mapped, since the last call.

        Their queues have stopped, and their clients must go.
        """
        with self._locked() as plane:
            bits = int(lib.plane_condemned(plane))
        return [vf for vf in range(self.vfs) if bits >> vf & 1]

    def signal(self, vf: int, eventfd: int) -> None:
        """Adds 1 to an eventfd of a VF's client, without ever waiting for the client."""
        with self._locked() as plane:
            lib.plane_signal(plane, vf, eventfd)

    def violations(self, vf: int) -> int:
        """How many violations and MDD events of a VF there were, whether told or held back."""
        with self._locked() as plane:
            return int(lib.plane_violations(plane, vf))

    # ---- registers that are memory

    def bar_fd(self, vf: int) -> int:
        """The memfd behind BAR0, which belongs to the plane."""
        return int(lib.plane_bar_fd(self._plane, vf))

    def bar_read32(self, vf: int, offset: int) -> int:
        """Returns what the client stored there last."""
        return int(lib.plane_bar_read32(self._plane, vf, offset))

    def bar_write32(self, vf: int, offset: int, value: int) -> None:
        """Stores as the client does."""
        lib.plane_bar_write32(self._plane, vf, offset, value)

    # ---- DMA windows

    def dma_map(
        self,
        vf: int,
        fd: int | None,
        offset: int,
        iova: int,
        size: int,
        readable: bool,
        writable: bool,
    ) -> None:
        """Adds a window; one without fd is accepted and never used (docs/spec/vfio-user.md 4)."""
        number = -1 if fd is None else fd
        with self._locked() as plane:
            _check(
                lib.plane_dma_map(
                    plane, vf, number, offset, iova, size, int(readable), int(writable)
                )
            )

    def dma_unmap(self, vf: int, iova: int, size: int, everything: bool = False) -> int:
        """Removes all windows inside the range; returns their bytes. EINVAL if one were split."""
        with self._locked() as plane:
            return _check(lib.plane_dma_unmap(plane, vf, iova, size, int(everything)))

    def dma_clear(self, vf: int) -> None:
        """Removes all windows."""
        self.dma_unmap(vf, 0, 0, everything=True)

    def dma_bury(self, vf: int) -> Any:
        """A mapping that no window uses any more, for lib.plane_unmap; None where there is none."""
        grave = ffi.new("struct softvf_grave *")
        with self._locked() as plane:
            return grave if lib.plane_dma_bury(plane, vf, grave) else None

    def dma_buried(self, vf: int, grave: Any) -> None:
        """Such a mapping was unmapped: it is no longer of the client's share."""
        with self._locked() as plane:
            lib.plane_dma_buried(plane, vf, grave)

    def forgive(self, vf: int) -> None:
        """The client is gone that `condemned` would tell of."""
        with self._locked() as plane:
            lib.plane_forgive(plane, vf)

    def dma_read(self, vf: int, iova: int, length: int) -> bytes:
        """Reads client memory; EFAULT outside the windows or without bus master."""
        data = ffi.new("uint8_t[]", max(length, 1))
        with self._locked() as plane:
            _check(lib.plane_dma_read(plane, vf, iova, data, length))
        return bytes(ffi.buffer(data, length))

    def dma_write(self, vf: int, iova: int, data: bytes) -> None:
        """Writes client memory; EFAULT outside the windows or without bus master."""
        with self._locked() as plane:
            _check(lib.plane_dma_write(plane, vf, iova, data, len(data)))

    def set_bus_master(self, vf: int, on: bool) -> None:
        """Allows or forbids all DMA of the VF, as bus master in its PCI command register does."""
        with self._locked() as plane:
            lib.plane_set_bus_master(plane, vf, int(on))

    # ---- queues

    def configure_tx(self, vf: int, queue: int, ring_iova: int, entries: int) -> None:
        """Sets a send queue's context; the queue must be disabled."""
        with self._locked() as plane:
            _check(lib.plane_configure_tx(plane, vf, queue, ring_iova, entries))

    def configure_rx(
        self,
        vf: int,
        queue: int,
        ring_iova: int,
        entries: int,
        buffer_size: int,
        max_frame: int,
        rxdid: int,
        crc_keep: bool = False,
    ) -> None:
        """Sets a receive queue's context; the queue must be disabled."""
        with self._locked() as plane:
            _check(
                lib.plane_configure_rx(
                    plane,
                    vf,
                    queue,
                    ring_iova,
                    entries,
                    buffer_size,
                    max_frame,
                    rxdid,
                    int(crc_keep),
                )
            )

    def enable_queue(self, vf: int, queue: int, rx: bool) -> None:
        """Starts a configured queue."""
        with self._locked() as plane:
            _check(lib.plane_enable_queue(plane, vf, queue, int(rx)))

    def disable_queue(self, vf: int, queue: int, rx: bool) -> None:
        """Stops a queue; no DMA for it happens after the return."""
        with self._locked() as plane:
            _check(lib.plane_disable_queue(plane, vf, queue, int(rx)))

    def stall_tx(self, vf: int, queue: int, on: bool) -> None:
        """A fault: a send queue takes nothing until it is let go or the VF is reset."""
        with self._locked() as plane:
            _check(lib.plane_stall_tx(plane, vf, queue, int(on)))

    def spoil(self, vf: int, kind: str, every: int) -> None:
        """A fault: every so many-th frame to a VF is spoiled in one of SPOILS; 0 ends it."""
        with self._locked() as plane:
            _check(lib.plane_spoil(plane, vf, SPOILS[kind], every))

    # ---- interrupts

    def map_vector(
        self, vf: int, vector: int, rx_map: int, tx_map: int, rx_itr: int, tx_itr: int
    ) -> None:
        """Sets which queues a vector serves, and which ITR moderates each direction."""
        with self._locked() as plane:
            lib.plane_map_vector(plane, vf, vector, rx_map, tx_map, rx_itr, tx_itr)

    def set_eventfd(self, vf: int, vector: int, fd: int | None) -> None:
        """Sets where the vector's interrupt goes; the plane keeps a duplicate of `fd`."""
        with self._locked() as plane:
            lib.plane_set_eventfd(plane, vf, vector, -1 if fd is None else fd)

    def set_msix(self, vf: int, enabled: bool, masked: Sequence[bool] = ()) -> None:
        """Sets MSI-X enable of the function and the mask bit of each vector."""
        with self._locked() as plane:
            for vector, mask in enumerate(masked):
                lib.plane_mask_vector(plane, vf, vector, int(mask))
            lib.plane_set_msix(plane, vf, int(enabled))

    def pending(self, vf: int) -> int:
        """The pending bit array of vectors 0 to 63."""
        with self._locked() as plane:
            return int(lib.plane_pending(plane, vf))

    def write_dyn_ctl(self, vf: int, vector: int, value: int) -> None:
        """Writes VFINT_DYN_CTL of a vector (docs/spec/registers.md 5.1)."""
        with self._locked() as plane:
            lib.plane_write_dyn_ctl(plane, vf, vector, value)

    def read_dyn_ctl(self, vf: int, vector: int) -> int:
        """VFINT_DYN_CTL of a vector, of which INTENA and WB_ON_ITR can be read."""
        with self._locked() as plane:
            return int(lib.plane_read_dyn_ctl(plane, vf, vector))

    def write_itr(self, vf: int, vector: int, itr: int, interval: int) -> None:
        """Sets an interval, in units of 2 microseconds."""
        with self._locked() as plane:
            lib.plane_write_itr(plane, vf, vector, itr, interval)

    def read_itr(self, vf: int, vector: int, itr: int) -> int:
        """An interval, in units of 2 microseconds."""
        with self._locked() as plane:
            return int(lib.plane_read_itr(plane, vf, vector, itr))

    def raise_mailbox(self, vf: int) -> None:
        """Raises a cause on vector 0."""
        with self._locked() as plane:
            lib.plane_raise(plane, vf, 0)

    def set_rx_polling(self, vf: int, on: bool) -> None:
        """Sets RX_POLLING, with which firing does not mask vector 0 (docs/spec/virtchnl.md 4)."""
        with self._locked() as plane:
            lib.plane_set_rx_polling(plane, vf, int(on))

    # ---- switch

    def publish(self, vf: int, config: VfConfig) -> None:
        """Replaces a VF's switch and offload configuration.

        OSError, and nothing changes: EINVAL for a flow whose template lacks a header or field that
        the flow is of, ENOSPC for too many flows or too many kinds of them.
        """
        raw, vlans, _flows = packed(config)
        with self._locked() as plane:
            _check(lib.plane_publish(plane, vf, raw, vlans))

    def check_flows(self, config: VfConfig) -> None:
        """Raises what `publish` would for the flows of this configuration; changes nothing."""
        raw, _vlans, _flows = packed(config)
        with self._locked() as plane:
            _check(lib.plane_check_flows(plane, raw))

    def add_tunnel(self, kind: Tunnel, port: int) -> None:
        """Registers a tunnel's UDP port; another kind replaces the one that the port had."""
        with self._locked() as plane:
            _check(lib.plane_add_tunnel(plane, port, int(kind == "geneve")))

    def remove_tunnel(self, port: int) -> None:
        """Takes a UDP port back; one that is not registered is left as it is."""
        with self._locked() as plane:
            lib.plane_remove_tunnel(plane, port)

    def wire(self) -> dict[str, int]:
        """Counters of the wire, by the names of struct softvf_wire_stats."""
        stats: Any = ffi.new("struct softvf_wire_stats *")
        with self._locked() as plane:
            lib.plane_wire_stats(plane, stats)
        return {name: int(getattr(stats, name)) for name in WIRE_NAMES}

    def play(self) -> None:
        """Lets a capture begin that waits; OSError when the uplink is no capture."""
        with self._locked() as plane:
            _check(lib.plane_wire_play(plane))

    def set_link(self, up: bool) -> None:
        """Sets whether the wire itself has a link."""
        with self._locked() as plane:
            lib.plane_set_link(plane, int(up))

    def stats(self, vf: int) -> tuple[int, ...]:
        """The VSI's 12 counters in GET_STATS order."""
        values = ffi.new("uint64_t[12]")
        with self._locked() as plane:
            lib.plane_stats(plane, vf, values)
        return tuple(values)

    def strays(self, vf: int) -> dict[bytes, int]:
        """Unicast frames that the VF sent and nobody got, by the address to which they went.

        Of many addresses the few with the most frames. Resets do not zero them.
        """
        found: Any = ffi.new("struct softvf_stray[]", lib.SOFTVF_STRAYS)
        with self._locked() as plane:
            lib.plane_strays(plane, vf, found)
        return {int(each.mac).to_bytes(6): int(each.frames) for each in found if each.frames}

    def clear_stats(self, vf: int) -> None:
        """Zeroes the VSI's counters, as a rebuild of the VSI does."""
        with self._locked() as plane:
            lib.plane_clear_stats(plane, vf)

    def queue_stats(self, vf: int, queue: int, rx: bool) -> tuple[int, int, int]:
        """Packets, bytes, and drops for want of a descriptor, of one queue."""
        values = ffi.new("uint64_t[3]")
        with self._locked() as plane:
            _check(lib.plane_queue_stats(plane, vf, queue, int(rx), values))
        return values[0], values[1], values[2]

    def reset_vf(self, vf: int) -> None:
        """Switches all queues and vectors off and forgets them; no DMA happens after the return."""
        with self._locked() as plane:
            lib.plane_reset_vf(plane, vf)


def _check(result: int) -> int:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return int(result)
