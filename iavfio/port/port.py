# SPDX-License-Identifier: BSD-3-Clause
"""A port: one VF with its queues, as programs use it."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Unpack

from iavfio.arguments import Flag, known_keywords, received_macs, told_call, wrong_type
from iavfio.datapath.pool import Pool
from iavfio.datapath.queues import TxQueue
from iavfio.errors import StateError
from iavfio.notebook import table
from iavfio.port import atexit_close, bounds
from iavfio.port.atexit_close import Closeable
from iavfio.port.control import PortControl
from iavfio.port.events import PortEvent, Reset
from iavfio.port.identity import Identity
from iavfio.port.link import Link
from iavfio.port.negotiation import Session
from iavfio.port.queues import RxQueues
from iavfio.port.settings import Change, Settings
from iavfio.port.status import RECOVERY_DEADLINE
from iavfio.pyvfio import Device, forks
from iavfio.ranges import WAIT
from iavfio.signatures import checked_call
from iavfio.stats import PortSegment, PortStats
from iavfio.virtchnl.capabilities import CapabilityReport
from iavfio.virtchnl.journal import Journal

if TYPE_CHECKING:
    from iavfio.port.facts import Finding


class Port:
    """A VF, real or software. Made by `iavfio.open`; a context manager.

    Settings may be changed while stopped; `start()` puts them in force. After a reset of the VF the
    port rebuilds itself from them; `resets` lists each outage. `rx` and `tx` are its queues.
    `control` is the control path, for tools that look inside.
    """

    def __init__(
        self,
        device: Device,
        *,
        name: str,
        pool: Pool,
        numbered: bool = False,
        stats_mode: int = 0o600,
        release_on_request: bool = False,
        within: float = bounds.OPEN,
    ) -> None:
        """Negotiates with the PF; the caller closes `device` when that raises.

        No access to the device ends later than `within` seconds from now, nor one that the caller
        makes to close it.
        """
        self._on_close: list[Callable[[], None]] = []
        self.control = PortControl(device, pool, name, within)
        this = weakref.ref(self)  # nothing that lives with the control path keeps the port alive
        self.control.mirroring.why = lambda frames: _told_why(this(), frames)
        self.control.open(
            numbered=numbered,
            stats_mode=stats_mode,
            release=self.close if release_on_request else None,
        )
        forks.track(self.control)
        atexit_close.close_at_exit(self)

    # ---- what it is

    @property
    def name(self) -> str:
        """The name in `iavfio stats`."""
        return self.control.status.name

    @property
    def device(self) -> Device:
        """The PCI device."""
        return self.control.device

    @property
    def pool(self) -> Pool:
        """The pool that receive rings are filled from, and that `tx` sends from."""
        return self.control.pool

    @property
    def identity(self) -> Identity:
        """The kind of VF."""
        return self.control.identity

    @property
    def session(self) -> Session:
        """The negotiation with the PF: resources, capabilities, virtchnl client."""
        return self.control.session

    @property
    def journal(self) -> Journal:
        """The mailbox journal: every message to and from the PF."""
        return self.control.journal

    @property
    def stats(self) -> PortStats:
        """The port's counters: snapshots, arrays, and the text that `iavfio stats` prints."""
        return self.control.stats

    @property
    def segment(self) -> PortSegment:
        """The shared memory in which counters and state are published."""
        return self.control.segment

    @property
    def settings(self) -> Settings:
        """The desired state, as `configure` set it."""
        return self.control.settings

    @property
    def mac(self) -> bytes:
        """The address in force, 6 bytes."""
        return self.control.status.mac

    @property
    def rx(self) -> RxQueues:
        """The receive queues, a tuple; `configure` makes new ones."""
        return self.control.queues.rx

    @property
    def tx(self) -> tuple[TxQueue, ...]:
        """The send queues; `configure` makes new ones."""
        return self.control.queues.tx

    @property
    def capabilities(self) -> CapabilityReport:
        """What was asked of the PF, what it granted and denied, and what each denial means."""
        return self.control.session.report

    @property
    def numa_node(self) -> int | None:
        """NUMA node of the device, None when it has none."""
        return self.device.numa_node

    @property
    def max_queues(self) -> int:
        """Queue pairs that this VF can have: its own, or what REQUEST_QUEUES may give."""
        return self.control.limits.queues

    @property
    def max_ring(self) -> int:
        """Descriptors of the largest ring (docs/spec/descriptors.md 10)."""
        return self.identity.max_ring

    def __repr__(self) -> str:
        return f"<Port {self.name}: {self.identity.family} VF, {self.state}, link {self.link}>"

    def _repr_html_(self) -> str:
        """What the port is and how it stands, as a table for notebooks."""
        settings = self.settings
        rows: list[tuple[str, object]] = [
            ("device", f"{self.identity.family} VF, {self.device.name}"),
            ("state", self.state),
            ("link", self.link),
            ("MAC", self.mac.hex(":")),
            ("queues", f"{len(self.rx)} of at most {self.max_queues}"),
            ("rings", f"{settings.rx_ring} to receive, {settings.tx_ring} to send"),
            ("MTU", settings.mtu),
            ("metadata", ", ".join(sorted(settings.metadata)) or "none"),
            ("pool", self.pool),
            ("resets", len(self.resets)),
        ]
        rows += [("note", note) for note in self.notes]
        return table(f"Port {self.name}", rows)

    # ---- how it stands

    @property
    def state(self) -> str:
        """opening, stopped, running, resetting, failed or closed."""
        return self.control.status.state.value

    @property
    def link(self) -> Link:
        """The link as the PF last told it."""
        return self.control.status.link

    @property
    def notes(self) -> list[str]:
        """What is not as it should be, each thing once; how packets spread, up to this moment."""
        self.control.housekeeping.conditions.look_at_arrivals()
        return self.control.status.notes

    @property
    def on_event(self) -> list[Callable[[PortEvent], None]]:
        """Callbacks for events; append yours. They may call anything, `close` included.

        What cannot be called, or would not run when it is called (a coroutine function, a
        generator), is refused with ConfigError when it is put in. One that raises anything is
        logged with its traceback and noted; nothing else fails for it. So SystemExit ends nothing;
        KeyboardInterrupt goes on in the main thread only, where it may be Ctrl-C.
        """
        return self.control.status.on_event

    @on_event.setter
    def on_event(self, callbacks: Iterable[Callable[[PortEvent], None]]) -> None:
        events = self.control.status.on_event
        if callbacks is not events:  # as it is after `port.on_event += [...]`
            events[:] = callbacks

    @property
    def resets(self) -> list[Reset]:
        """The resets that the port came through, oldest first."""
        return self.control.resets

    @known_keywords
    def wait_link(self, timeout: float = 10.0) -> Link:
        """Waits at most `timeout` seconds until the link is up; returns the link as it then is.

        Returns early when the port fails or is closed. Raises ConfigError for a `timeout` that
        is no number of seconds.
        """
        return self.control.status.wait_link(WAIT("timeout", timeout))

    @known_keywords
    def wait_running(self, timeout: float = RECOVERY_DEADLINE) -> None:
        """Waits through a reset. Raises StateError when the port does not run by then."""
        self.control.status.wait_running(WAIT("timeout", timeout))

    def why_stopped(self) -> str:
        """Why queues do not work now, in words."""
        return self.control.status.why_stopped()

    def how_to_start(self) -> str:
        """What makes queues work, in words."""
        return self.control.status.how_to_start()

    # ---- settings

    @told_call
    def configure(self, **changes: Unpack[Change]) -> None:
        """Sets what is given and keeps the rest; checked here, applied by `start()`.

        `queues`: pairs; `ring`, `rx_ring`, `tx_ring`: descriptors, multiples of 32 from 64; `mtu`:
        bytes of Ethernet payload; `metadata`: columns to fill, of rss ptype csum vlan mark time;
        `mac`: own address, "auto" = the PF's, or one made here where the PF gives none;
        `extra_macs`: further addresses; `promiscuous`: all frames, multicast included;
        `all_multicast`: every group; `rss`: an Rss; `isa`: auto, scalar, avx2, avx512 or neon;
        `descriptors`: auto, or legacy where the card knows flexible ones as well. What was set
        before and is not wanted any more is withdrawn from the PF. Raises ConfigError for a setting
        that does not exist or cannot work, StateError while running; nothing is changed then.
        """
        self.control.configure(changes)

    @known_keywords
    def set_promiscuous(self, on: bool, *, all_multicast: bool | None = None) -> None:
        """Promiscuous mode, now and after every reset; the same as configure(promiscuous=on).

        It includes all multicast. `all_multicast` is a setting of its own, for every group without
        foreign unicast; None leaves it as it is. An ice PF answers SUCCESS to an untrusted VF and
        does nothing (docs/spec/virtchnl.md 9): whether it works shows only by traffic, so this is
        never reported as proof. Raises PfRefused, MailboxError.
        """
        flag = Flag()
        multicast = None if all_multicast is None else flag("all_multicast", all_multicast)
        self.control.set_promiscuous(flag("on", on), multicast)

    @known_keywords
    def set_extra_macs(self, macs: Iterable[str | bytes]) -> None:
        """Further addresses to receive, now and after every reset; as configure(extra_macs=macs).

        They replace those that there were; groups are addresses, too. Raises ConfigError for what
        is no address, ItemRefused for one that the PF does not take, with nothing changed then;
        MailboxError, StateError.
        """
        self.control.set_extra_macs(received_macs("macs", macs))

    # ---- start and stop

    @known_keywords
    def start(self, *, wait_link: float = 0.0) -> None:
        """Configures the PF, fills the receive rings, enables the queues.

        `wait_link`: seconds to wait for the link, 0 = none. A reset that comes in between is waited
        for. Raises PfRefused, MailboxError, ResetError or StateError.
        """
        seconds = WAIT("wait_link", wait_link)
        self.control.start()
        if seconds:
            self.wait_link(seconds)

    def stop(self) -> None:
        """Stops the queues; settings may be changed then. Counters and held bursts stay.

        Stopping a stopped port is harmless. A PF that does not disable the queues costs a reset of
        the VF. When that fails too, or 2 s are over, DMA is ended by bus master and the port has
        failed: raises ResetError then. While a reset is handled the port comes back stopped.
        """
        self.control.stop()

    @known_keywords
    def close(self, within: float = bounds.CLOSE) -> None:
        """Stops, tells the PF, gives all memory back; raises no error. Twice is harmless.

        A reset that is being handled and a request that is under way are given up. What the PF has
        not answered `within` seconds is done without it: the device loses bus master, or a silent
        server its connection. After Ctrl-C a `with` block takes 30 ms at most; during a close
        Ctrl-C hastens it, and KeyboardInterrupt is raised when the port is closed.
        """
        seconds, first = WAIT("within", within), True
        try:
            first = self.control.close(seconds)
        except BaseException:
            first = not self.control.closeable  # else there is more to close, by the next call
            raise
        finally:
            if first:
                atexit_close.forget(self)
                for call in self._on_close:
                    call()

    @known_keywords
    def own(self, resource: Closeable) -> None:
        """Something that closes with the port: the software VF that was started for it."""
        if not callable(getattr(resource, "close", None)):
            raise wrong_type("resource", resource, "an object with a method close()")
        self._on_close.append(resource.close)

    def __del__(self) -> None:
        """A port that was never closed must not leave its threads and DMA behind."""
        control = getattr(self, "control", None)
        if control is not None and control.closeable:
            warnings.warn(f"port {self.name} was not closed", ResourceWarning, stacklevel=1)
            self.close()

    def __enter__(self) -> Port:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close(bounds.closing(value))

    # ---- statistics

    @known_keywords
    def refresh_stats(self, within: float | None = None) -> None:
        """Asks the PF for its counters now; they are published in `stats`.

        Does nothing while a reset is handled. Raises MailboxError when there is no answer `within`
        seconds, StateError when another call uses the port for so long, when it has failed or is
        closed, DeviceLost when there is no device any more. None means 2 s, and more for a PF that
        was slow of late.
        """
        self.control.refresh_stats(None if within is None else WAIT("within", within))

    def settle(self) -> None:
        """Merges counts that other threads made for idle queues into `stats`."""
        self.control.queues.settle()

    # ---- resets

    def why(self) -> list[Finding]:
        """What keeps this port from receiving, or makes its packets vanish: causes with remedies.

        A few probe frames to nobody and some twenty short messages to the PF, from any thread,
        beside those that use the queues. Empty when nothing is found. Raises nothing for a port
        that does not run: that is the finding then.
        """
        from iavfio.port.why import examine

        return examine(self)

    def reset(self) -> Reset:
        """Asks the PF to reset this VF and rebuilds everything; returns the outage.

        Raises as `recover` does.
        """
        return self.recover("asked for by reset()")

    @checked_call
    def recover(self, cause: str = "asked for by recover()") -> Reset:
        """Resets the VF and rebuilds the port from its settings, also a failed one.

        Raises ResetError when it must give up, DeviceLost when there is no device any more.
        """
        return self.control.recover(cause)


def _told_why(port: Port | None, frames: bool) -> bytes:
    """The answer to another process that asks why this port does not work."""
    from iavfio.port.inquiry import tell

    if port is None:
        raise StateError("the port is closed")
    return tell(port, frames)
