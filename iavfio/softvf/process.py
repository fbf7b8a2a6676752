# SPDX-License-Identifier: BSD-3-Clause
"""The software VF's process: puts one PF, its VFs and their sockets together, and runs them."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TextIO

from iavfio.errors import ConfigError, IavfioError
from iavfio.exhaustion import exhaustion, thread_shortage
from iavfio.softvf import personality as cards
from iavfio.softvf.control import MAX_CLIENTS, Control, ControlServer
from iavfio.softvf.dataplane import STAT_NAMES, DataPlane, Writeback
from iavfio.softvf.function.device import Vf
from iavfio.softvf.log import ViolationLog, name_of
from iavfio.softvf.loop import READ, Loop
from iavfio.softvf.pf import Pf
from iavfio.softvf.server import sockets
from iavfio.softvf.server.closing import MOST, MOST_WAITING
from iavfio.softvf.server.directory import private_directory
from iavfio.softvf.server.listener import VfServer
from iavfio.softvf.server.messages import MAX_FDS

if TYPE_CHECKING:
    from iavfio.softvf.linux_pf import LinuxPf

SOFTWARE = "software"
CANNOT_START = "the software VF cannot start"
Doorbells = Literal["shared", "trapped"]
MAX_VFS = 64
INTERFACES = Path("/sys/class/net")
UPLINKS = (
    "uplinks: none, loopback, tap:NAME, pcap:IN[,OUT][,start=N][,loop=N][,pace=P], "
    "gen[:size=N,flows=N]"
)
MOST_FILES = 65536
OWN_FILES = 24 + MAX_CLIENTS + MOST  # the latter two are the control socket's


@dataclass(frozen=True)
class Settings:
    """What is asked of a software VF; without `directory` a fresh private one is made."""

    vfs: int = 1
    personality: str = "e810"
    directory: Path | None = None
    uplink: str = "loopback"
    writeback: Writeback = "hardware"
    doorbells: Doorbells = "shared"
    options: tuple[str, ...] = ()  # key=value, see personality.OPTIONS
    verbose: bool = False
    pf: str = SOFTWARE  # or one of linux_pf.KERNELS: Linux's own driver
    disposable: bool = False  # the directory is removed at the end, though it was there before


def run(
    settings: Settings,
    ready: Callable[[dict[str, Any]], None],
    parent: int | None = None,
    summary: TextIO | None = None,
    ended: Callable[[], None] = lambda: None,
    obtain: Callable[[str], object] = lambda _: None,
) -> int:
    """Serves until a signal, the control socket's `stop`, or the end of the parent (a pidfd).

    Returns the number of the signal that ended it, 0 when none did.

    `ready` is called once with {"sockets": [...], "control": path} when clients may come, `ended`
    when what ends it has come and before anything is taken down.
    Before that, raises ConfigError or StateError for what cannot be.

    `obtain` is called with the name of Linux's driver before that is started. It may take minutes
    to make one, so whatever can be refused without it is refused before. Until clients may come,
    signals are the caller's.
    """
    if not 1 <= settings.vfs <= MAX_VFS:
        raise ConfigError(f"{settings.vfs} VFs", f"a software PF has 1 to {MAX_VFS}")
    options = dict(map(cards.parse_option, settings.options))
    card = cards.named(settings.personality, **options)
    if settings.pf != SOFTWARE:
        _linux_pf().check(settings.pf, card, options)
    shortage = _raise_fd_limit(settings.vfs, card)
    voice = _speech()
    log = ViolationLog(settings.verbose, hear=voice.tell if voice else None)
    if shortage:
        for number in range(settings.vfs):
            log.add(number, "note", "docs/spec/reliability.md D3", shortage)
    with ExitStack() as stack:
        loop = Loop()
        stack.callback(loop.close)
        plane = _plane(settings, card)
        stack.callback(plane.stop)
        directory = stack.enter_context(private_directory(settings.directory, settings.disposable))
        paths = [directory / f"vf{number}.sock" for number in range(settings.vfs)]
        lines_path = directory / "control.sock"
        if settings.pf != SOFTWARE:
            for path in (*paths, lines_path):
                sockets.check(path)
            obtain(settings.pf)
        trapped = settings.doorbells == "trapped"
        vfs = [Vf(i, card, plane, loop, log, trapped) for i in range(settings.vfs)]
        pf = _driver(settings, card, vfs, plane, loop, stack)
        loop.stop_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if parent is not None:
            loop.watch(parent, READ, lambda _: loop.stop())
        for vf in vfs:
            vf.attach(pf)
        servers = []
        for vf, path in zip(vfs, paths, strict=True):
            server = VfServer(vf, path, loop)
            stack.callback(server.close)
            servers.append(server)
        loop.watch(plane.event_fd, READ, lambda _: hear(plane, pf, log, servers))
        info = {
            "pid": os.getpid(),
            "personality": card.name,
            "pf": settings.pf,
            "uplink": settings.uplink,
            "writeback": settings.writeback,
            "doorbells": settings.doorbells,
        }
        control = Control(servers, pf, plane, log, info, loop.stop, loop.own)
        lines = ControlServer(lines_path, control, loop)
        stack.callback(lines.close)
        try:
            plane.start()
        except OSError as error:
            raise thread_shortage(CANNOT_START) from error
        names = [f"vfio-user:{server.path}" for server in servers]
        ready({"sockets": names, "control": str(lines.path)})
        if voice:
            voice.serving(card.name, names)
        # What is there now stays: a collection that looks at all of it takes 4 ms with one VF and
        # 90 ms with 64, in which no client is served (docs/spec/reliability.md D6).
        gc.freeze()
        loop.run()
        ended()
        if voice:
            voice.ended(loop.stopped_by)
        if summary is not None:
            with contextlib.suppress(OSError):
                _summarise(plane, log, settings.vfs, summary)
        return loop.stopped_by


def _driver(
    settings: Settings,
    card: cards.Personality,
    vfs: list[Vf],
    plane: DataPlane,
    loop: Loop,
    stack: ExitStack,
) -> Pf | LinuxPf:
    """The PF's driver; raises ConfigError where Linux's cannot be had."""
    if settings.pf == SOFTWARE:
        return Pf(card, vfs, plane, loop)
    driver: LinuxPf = _linux_pf().start(settings.pf, card, vfs, plane, loop, stack)
    end = driver.end_fd

    def ended(_: int) -> None:
        loop.forget(end)
        driver.ended()

    loop.watch(end, READ, ended)
    return driver


def _linux_pf() -> ModuleType:
    """What drives VFs by Linux's drivers; the process starts fast where nobody asks for it."""
    return import_module("iavfio.softvf.linux_pf")


def _speech() -> ModuleType | None:
    """What logs, None where nobody asks for it: the process starts fast. Raises ConfigError."""
    text = os.environ.get("IAVFIO_LOG")
    if not text:
        return None
    speech = import_module("iavfio.softvf.speech")
    speech.show(text)
    return speech


def _plane(settings: Settings, card: cards.Personality) -> DataPlane:
    try:
        with _wire(settings.uplink) as uplink:
            return DataPlane(
                settings.vfs,
                bar_size=card.bar0_size,
                uplink=uplink,
                writeback=settings.writeback,
                flex=card.flex,
                e810_itr=card.e810_itr,
                wb_group=card.wb_group,
                wb_on_itr=card.wb_on_itr,
                rx_tail_step=card.rx_tail_step,
                tails_stay=card.tails_stay,
                memory_gib=card.memory_gib,
            )
    except ConfigError:
        raise
    except ValueError as error:
        cause, _, remedy = str(error).partition("; ")
        raise ConfigError(
            f"cannot open the uplink {settings.uplink!r}", cause, remedy or UPLINKS
        ) from error
    except OSError as error:
        raise cannot_start(error) from error


def cannot_start(error: OSError) -> IavfioError:
    """The error for a call of the system that failed while a software VF starts."""
    cause = error.strerror or str(error)
    if error.filename is not None:
        cause = f"{error.filename}: {cause}"
    return exhaustion(error, CANNOT_START) or IavfioError(CANNOT_START, cause)


def _wire(uplink: str) -> AbstractContextManager[str]:
    """The uplink as the data plane can read it; the process starts fast where nothing is to do."""
    kind, _, rest = uplink.partition(":")
    if kind == "tap":
        _check_tap(uplink, rest)
    if kind != "pcap":
        return contextlib.nullcontext(uplink)
    for path in rest.split(","):
        if path and Path(path).is_dir():
            raise ConfigError(
                f"cannot open the uplink {uplink!r}", f"{path} is a directory", "name a file in it"
            )
    pcap = import_module("iavfio.softvf.capture_input")
    pcap.check_output(uplink)
    wire: AbstractContextManager[str] = pcap.classic(uplink)
    return wire


def _check_tap(uplink: str, name: str) -> None:
    """Raises ConfigError for an interface that is there and is no TAP."""
    there = INTERFACES / name
    if not name or "/" in name or not there.exists() or (there / "tun_flags").exists():
        return
    raise ConfigError(
        f"cannot open the uplink {uplink!r}",
        f"{name} is a network interface of this host and no TAP",
        "make a TAP for this user under a name that is free: ip tuntap add vftap0 mode tap user "
        "$USER, and name it here: tap:vftap0",
    )


def hear(plane: DataPlane, pf: Pf | LinuxPf, log: ViolationLog, servers: list[VfServer]) -> None:
    """Logs what the data thread has to say, tells the PF of malicious drivers, and hangs up on
    clients that took their memory away."""
    for event in plane.events():
        if event.kind == "mdd":
            log.add(event.vf, "mdd", event.rule, event.text, event.count)
            servers[event.vf].vf.account.run(pf.mdd, event.vf, event.text)
        else:
            kind: Literal["violation", "note"] = (
                "violation" if event.kind == "violation" else "note"
            )
            log.add(event.vf, kind, event.rule, event.text, event.count)
    for vf in plane.condemned():
        servers[vf].disconnect("its memory is gone: a file was truncated while it was mapped")


def _raise_fd_limit(vfs: int, card: cards.Personality) -> str:
    """Returns how many hostile clients it takes to use up all files, in words; "" if all do not.

    Raises IavfioError where one could. The kernel drops descriptors for which there is no room, and
    the last close of one may wait, in which time nobody is served.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    # Each eventfd of a client is kept twice, and as many of the client before wait to be closed, as
    # do others, or came with a message in hand; the rest are sockets and the loop's own.
    kept = OWN_FILES + vfs * (3 * (card.msix_count + 2) + MAX_FDS)
    need, safe = kept + MOST_WAITING, kept + vfs * MOST_WAITING
    if soft < need:
        raise IavfioError(
            f"this process may open {soft} files",
            f"a software PF with {vfs} of these VFs needs {need}, of which one hostile client can "
            "keep a part",
            f"raise the limit: ulimit -n {max(4096, safe)}",
        )
    if soft >= safe:
        return ""
    clients = (soft - kept) // MOST_WAITING + 1
    return (
        f"this process may open {soft} files: {clients} clients together that hand over files "
        f"which do not close can stop all VFs; raise the limit: ulimit -n {safe}"
    )


def _summarise(plane: DataPlane, log: ViolationLog, vfs: int, out: TextIO) -> None:
    """Prints traffic and violations of each VF, and what came over the wire."""
    for vf in range(vfs):
        stats = dict(zip(STAT_NAMES, plane.stats(vf), strict=True))
        received, sent = (
            sum(stats[f"{way}_{kind}"] for kind in ("unicast", "multicast", "broadcast"))
            for way in ("rx", "tx")
        )
        print(
            f"vf{vf}: rx {received} packets {stats['rx_bytes']} bytes, "
            f"tx {sent} packets {stats['tx_bytes']} bytes, "
            f"{stats['rx_discards']} discarded, {log.total(vf)} violations, "
            f"{log.total(vf, 'mdd')} MDD events",
            file=out,
        )
    wire = plane.wire()
    counted = [f"{number} {name.replace('_', ' ')}" for name, number in wire.items() if number]
    if counted:
        print(f"wire: {', '.join(counted)}", file=out)
    for (vf, kind, rule), count in sorted(log.counts.items()):
        if kind != "note":
            text = log.newest[vf, kind, rule]
            print(f"  {name_of(vf)} {kind}, {count} times: {text} [{rule}]", file=out)
    if log.unread:
        print(f"{log.unread} lines on stderr were dropped: nobody read them", file=out)
    out.flush()


def print_ready(ready: dict[str, Any]) -> None:
    """Prints the sockets, and one line that says that clients may come."""
    for name in ready["sockets"]:
        print(name)
    print(f"control:{ready['control']}")
    print("ready", flush=True)
    sys.stdout.flush()
