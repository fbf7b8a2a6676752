# SPDX-License-Identifier: BSD-3-Clause
"""What became of frames beyond the port that sent them, where somebody can be asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from iavfio.errors import DeviceError, IavfioError, StateError
from iavfio.foreign import a_list, an_object, whole
from iavfio.port.draining import await_count
from iavfio.port.port import Port
from iavfio.softvf.asking import Questions

STILL = 1.3  # seconds: a software PF holds frames back for one at most (its option delay_us)
LIMIT = 6.0  # seconds, whoever sends other packets there meanwhile
STEP = 0.02  # seconds between looks
SECONDS = 1.0  # in which a software PF tells its counters
MOST_BYTES = 4 << 20  # of an answer
MOST_VFS = 1 << 12
UNKNOWN = -1  # packets, where nobody can tell
TAKEN = ("rx_unicast", "rx_multicast", "rx_broadcast")
"""The PF's counters of frames that got to a VF, also of those for which no descriptor was free."""


@dataclass(frozen=True)
class Arrivals:
    """Packets that arrived up to now, and who counted them: only one's counts can be compared."""

    packets: int
    counted_by: str

    def since(self, before: Arrivals) -> int | None:
        """How many more there are; None where somebody else counted before."""
        return self.packets - before.packets if self.counted_by == before.counted_by else None


def arrivals(dst: bytes | None, ports: Sequence[Port]) -> Arrivals | None:
    """Packets up to now that got to whoever could have got those that `ports` send to `dst`.

    A software PF tells what all its VFs and its wire took; otherwise a port of `ports` that has the
    address does, by the PF's counters, or those of its last answer. None where nobody can tell, and
    where `dst` is None: then the frames go to an address that is nobody's, on purpose.
    """
    if dst is None:
        return None
    if all(port.device.transport == "vfio-user" for port in ports):
        try:
            servers = sorted({Path(port.device.name).parent for port in ports})
            return Arrivals(sum(map(_taken, servers)), "the software PF")
        except (IavfioError, LookupError, ValueError):
            pass  # another server of a VF has no control socket, or another language
    owners = [port for port in ports if dst in (port.mac, *port.settings.extra_macs)]
    if not owners:
        return None
    for port in owners:
        with suppress(DeviceError, StateError):
            port.refresh_stats()
    taken = sum(port.stats.snapshot().pf[name] for port in owners for name in TAKEN)
    return Arrivals(taken, "the ports")


def arrived_since(
    before: Arrivals | None, packets: int, dst: bytes | None, ports: Sequence[Port]
) -> int | None:
    """How many packets more than `before` got there, as soon as `packets` have, or after STILL
    seconds in which none did, LIMIT seconds at most: a path may be slow. None where nobody can
    tell.
    """
    if before is None:
        return None

    def come() -> int:
        now = arrivals(dst, ports)
        since = None if now is None else now.since(before)
        return UNKNOWN if since is None else since

    found = await_count(
        come,
        lambda found: found == UNKNOWN or found >= packets,
        still=STILL,
        limit=LIMIT,
        step=STEP,
    )
    return None if found == UNKNOWN else found


def _taken(directory: Path) -> int:
    """What the VFs and the wire of the software PF that serves `directory` took."""
    questions = Questions(SECONDS, MOST_BYTES)
    taken = whole(an_object(questions.ask(directory, "wire")["wire"])["sent"])
    for vf in a_list(questions.ask(directory, "info")["vfs"], MOST_VFS):
        answer = questions.ask(directory, "stats", vf=whole(an_object(vf)["index"], 0, MOST_VFS))
        counters = an_object(answer["stats"])
        taken += sum(whole(counters[name]) for name in TAKEN)
    return taken
