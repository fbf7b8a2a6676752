# SPDX-License-Identifier: BSD-3-Clause
"""rtnetlink's view of the VFs of one network interface: IFLA_VFINFO_LIST, by pyroute2."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from iavfio.host.errors import HostError, KernelRefused, NotPermitted, program
from iavfio.vfs.words import LINKS, Value

WITH_VFS = 1  # RTEXT_FILTER_VF of linux/rtnetlink.h: without it the kernel tells of no VF
NOT_TOLD = 0xFFFFFFFF  # what the kernel answers where the PF's driver says nothing
BUSY = (errno.EAGAIN, errno.EBUSY)  # a VF in reset, which each of these changes begins
PATIENCE = 5.0  # seconds in which such a reset is over
PAUSE = 0.05
IN_RESET = (
    "the VF was in reset all the time",
    "wait until the program that resets it has ended, and repeat the command",
)
CAUSES = {  # errno: cause and remedy
    errno.EOPNOTSUPP: (
        "the PF's driver does not offer it, or the PF is in switchdev mode",
        "look at: dmesg | tail; devlink dev eswitch show pci/BDF",
    ),
    errno.EBUSY: IN_RESET,
    errno.EAGAIN: IN_RESET,
    errno.ENODEV: ("the interface or the VF is gone", "list the PFs with: iavfio list"),
    errno.EINVAL: (
        "the PF's driver does not take this value, or has no such VF",
        "look at: dmesg | tail",
    ),
}
Route = Any  # pyroute2's IPRoute, which has no types


def real_route() -> Route:
    """A netlink socket. pyroute2 takes a quarter of a second to import, so only now."""
    from pyroute2 import IPRoute

    return IPRoute()


class Netlink:
    """The VFs of one interface. `route` opens what speaks to the kernel."""

    def __init__(
        self,
        interface: str,
        route: Callable[[], Route] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.interface = interface
        self._route, self._patience = route or real_route, patience

    def vfs(self) -> dict[int, dict[str, Value]]:
        """Settings by VF and word, as far as the kernel tells. Raises HostError's kinds."""
        with _told(self.interface, "reading the VFs", "list"), self._route() as route:
            messages = list(route.link("get", index=self._index(route), ext_mask=WITH_VFS))
        found: dict[int, dict[str, Value]] = {}
        for message in messages:
            for name, info in _attributes(_first(message, "IFLA_VFINFO_LIST")):
                if name == "IFLA_VF_INFO":
                    number, settings = _settings(info)
                    if number is not None:
                        found[number] = settings
        return found

    def put(self, vf: int, attributes: Mapping[str, Any], what: str) -> None:
        """Sets attributes of one VF, in pyroute2's words; `what` names them for errors.

        A VF that is in reset is waited for. Raises HostError's kinds.
        """
        until = time.monotonic() + self._patience
        while True:
            try:
                with _told(self.interface, what, f"set {vf}"), self._route() as route:
                    index = self._index(route)
                    # pyroute2 takes the mapping apart, so that each try needs its own.
                    route.link("set", index=index, vf={"vf": vf} | _copy(attributes))
                return
            except KernelRefused as refused:
                if _number(refused.__cause__) not in BUSY or time.monotonic() > until:
                    raise
            time.sleep(min(PAUSE, self._patience))

    def _index(self, route: Route) -> int:
        found = list(route.link_lookup(ifname=self.interface))
        if not found:
            raise KernelRefused(
                f"there is no network interface {self.interface}",
                "the PF's driver was unloaded, or the interface moved to another network namespace",
                "list the PFs with: iavfio list",
            )
        return int(found[0])


@contextmanager
def _told(interface: str, what: str, words: str) -> Iterator[None]:
    """Turns what pyroute2 raises inside into HostError's kinds; `words` go on `iavfio vf PF`."""
    try:
        yield
    except HostError:
        raise
    except Exception as error:
        raise _error(error, interface, f"{what} of {interface} failed", words) from error


def _error(error: Exception, interface: str, what: str, words: str) -> HostError:
    number = _number(error) or 0
    if number in (errno.EPERM, errno.EACCES):
        return NotPermitted(
            what,
            "only root of the network namespace may change VFs (CAP_NET_ADMIN)",
            f"run: sudo {program()} vf {interface} {words} ...",
        )
    cause, remedy = CAUSES.get(number, (str(error), "look at: dmesg | tail"))
    if not number:
        return KernelRefused(what, f"{type(error).__name__}: {error}", remedy)
    # Linux has two names for one number, and the kernel's answers use this one.
    same = number == errno.EOPNOTSUPP
    code = "EOPNOTSUPP" if same else errno.errorcode.get(number, f"error {number}")
    return KernelRefused(what, f"{cause} ({code})", remedy)


def _number(error: BaseException | None) -> int | None:
    """The errno of pyroute2's NetlinkError (`code`) or of an OSError."""
    found = getattr(error, "code", None) or getattr(error, "errno", None)
    return abs(found) if isinstance(found, int) else None


def _copy(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {k: dict(v) if isinstance(v, Mapping) else v for k, v in attributes.items()}


def _attributes(nested: Any) -> list[tuple[str, Any]]:
    """Name and value of each attribute, wherever pyroute2 keeps them; empty for anything else."""
    try:
        pairs: Iterable[Any] = nested["attrs"]
        return [(str(pair[0]), pair[1]) for pair in pairs]
    except (TypeError, KeyError, IndexError):
        return []


def _first(message: Any, name: str) -> Any:
    return next((value for found, value in _attributes(message) if found == name), None)


def _settings(info: Any) -> tuple[int | None, dict[str, Value]]:
    """Number and settings of a VF; what the answer lacks, or cannot be, is left out."""
    number: int | None = None
    found: dict[str, Value] = {}
    for attribute, value in _attributes(info):
        rows = [row for row in FIELDS if row[0] == attribute]
        for _, field, word, read in rows:
            try:
                raw = value[field]
                number = int(value["vf"])
                told = read(raw)
            except (TypeError, KeyError, ValueError, IndexError):
                continue
            if told is not None:
                found[word] = told
    return number, found


def _flag(raw: Any) -> bool | None:
    return None if int(raw) == NOT_TOLD else bool(raw)


FIELDS: tuple[tuple[str, str, str, Callable[[Any], Value | None]], ...] = (
    ("IFLA_VF_MAC", "mac", "mac", lambda raw: str(raw).lower()),
    ("IFLA_VF_VLAN", "vlan", "vlan", int),
    ("IFLA_VF_VLAN", "qos", "qos", int),
    ("IFLA_VF_TRUST", "trust", "trust", _flag),
    ("IFLA_VF_SPOOFCHK", "spoofchk", "spoofchk", _flag),
    ("IFLA_VF_LINK_STATE", "link_state", "link", lambda raw: LINKS[int(raw)]),
    ("IFLA_VF_RATE", "max_tx_rate", "rate", int),
    ("IFLA_VF_RATE", "min_tx_rate", "min-rate", int),
)


def attributes(step: Mapping[str, Value], state: Mapping[str, Value | None]) -> dict[str, Any]:
    """A group of settings as pyroute2 takes it; what shares its attribute stays as in `state`."""
    found: dict[str, Any] = {}
    whole = {**state, **step}
    for name, value in step.items():
        if name in ("vlan", "qos"):
            vlan = whole.get("vlan") or 0
            found["vlan"] = {"vlan": vlan, "qos": (whole.get("qos") or 0) if vlan else 0}
        elif name in ("rate", "min-rate"):
            found["rate"] = {
                "min_tx_rate": whole.get("min-rate") or 0,
                "max_tx_rate": whole.get("rate") or 0,
            }
        elif name == "link":
            found["link_state"] = LINKS.index(str(value))
        else:
            found[name] = int(value) if isinstance(value, bool) else value
    return found
