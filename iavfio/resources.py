# SPDX-License-Identifier: BSD-3-Clause
"""VFs that Kubernetes gave to this container: the variables of the SR-IOV network device plugin.

For a resource intel.com/vf it sets PCIDEVICE_INTEL_COM_VF to PCI addresses with commas between
them, and PCIDEVICE_INTEL_COM_VF_INFO to a JSON object: for each address what else there is to know
of the device, such as the VF token that the node's administrator wrote into its "additionalInfo".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from iavfio import foreign
from iavfio.errors import ConfigError

INFO = "_INFO"
PREFIX = "PCIDEVICE_"
WRITTEN = re.compile(r"(PCIDEVICE_[A-Z0-9_]+)(?::(\d{1,4}))?", re.ASCII)
ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", re.IGNORECASE)
ASK = "request the resource in the pod's spec, or give a PCI address"
REPORT = "it is the device plugin that writes it: see its log, or give a PCI address"


@dataclass(frozen=True)
class Resource:
    """A device of a resource: its PCI address, and its VF token where the plugin tells one."""

    variable: str
    address: str
    token: str | None = None


def is_resource(text: str) -> bool:
    """Whether `text` is written as a resource variable, with or without an index: "NAME:1"."""
    return WRITTEN.fullmatch(text) is not None


def find(text: str) -> Resource | None:
    """The device that a resource variable names, the first without an index; None for other text.

    The variable may be named with or without its "_INFO". Raises ConfigError when it names no such
    device, or is not as the device plugin writes it.
    """
    match = WRITTEN.fullmatch(text)
    if match is None:
        return None
    variable, index = match[1], int(match[2] or 0)
    if variable not in os.environ or variable.endswith(INFO):
        variable = variable.removesuffix(INFO)
    details = _details(f"{variable}{INFO}")
    addresses = _addresses(variable) or list(details)
    if not addresses:
        raise ConfigError(f"{variable} names no device", "it is not set in this environment", ASK)
    if index >= len(addresses):
        raise ConfigError(
            f"{variable} has no device {index}", f"it names {len(addresses)}", f"use {variable}:0"
        )
    address = addresses[index]
    return Resource(variable, address, _token(f"{variable}{INFO}", details.get(address, {})))


def resolved(text: str) -> str:
    """A resource variable as the PCI address that it names; other texts as they are.

    Raises ConfigError as `find` does.
    """
    resource = find(text)
    return text if resource is None else resource.address


def names() -> list[str]:
    """What may be written for each device of each resource in this environment, in order."""
    found = []
    for variable in sorted(os.environ):
        if not variable.startswith(PREFIX) or variable.endswith(INFO) or not is_resource(variable):
            continue
        count = len([part for part in os.environ[variable].split(",") if part.strip()])
        found += [variable if index == 0 else f"{variable}:{index}" for index in range(count)]
    return found


def _addresses(variable: str) -> list[str]:
    addresses = [part.strip() for part in os.environ.get(variable, "").split(",") if part.strip()]
    _check(variable, addresses)
    return [address.lower() for address in addresses]


def _check(variable: str, addresses: Iterable[str]) -> None:
    """Raises ConfigError for the first that is no PCI address."""
    for address in addresses:
        if not ADDRESS.fullmatch(address):
            raise ConfigError(
                f"{variable} names {foreign.printable(address)!r}, which is no PCI address",
                "the resource is none of VFs, or something else has set the variable",
                "choose VFs in the device plugin's configuration, or give a PCI address",
            )


def _details(variable: str) -> dict[str, Any]:
    """What the plugin tells of each device, by lower-case address; empty where it tells nothing."""
    text = os.environ.get(variable)
    if not text:
        return {}
    try:
        details = {
            str(address).lower(): foreign.an_object(value)
            for address, value in foreign.an_object(foreign.parsed(text)).items()
        }
    except ValueError as wrong:
        raise ConfigError(f"{variable} cannot be read", f"it has {wrong}", REPORT) from None
    _check(variable, details)
    return details


def _token(variable: str, details: dict[str, Any]) -> str | None:
    extra = details.get("extra")
    token = extra.get("token") if isinstance(extra, dict) else None
    if token is None:
        return None
    from uuid import UUID  # it takes milliseconds, and hardly anybody has a token

    try:
        return str(UUID(token))
    except (ValueError, TypeError, AttributeError):
        raise ConfigError(
            f"{variable} has a VF token that is none",
            "a token is a UUID",
            'write "token": "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" into "additionalInfo" of the '
            "device plugin's configuration",
        ) from None
