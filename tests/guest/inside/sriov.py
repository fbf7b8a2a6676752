# SPDX-License-Identifier: BSD-3-Clause
"""Creates VFs on the PF given by address, sets them up through netlink, reads them back."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from pyroute2 import IPRoute

from tests.guest.inside.facts import PCI, collect

EXT_MASK_VF = 1


def attribute(message: Any, name: str) -> Any:
    """First attribute of that name, wherever the message keeps its list."""
    attributes = message["attrs"] if isinstance(message, dict) else message
    return next((pair[1] for pair in attributes if pair[0] == name), None)


def create(pf: str, count: int) -> dict[str, Any]:
    """Makes VFs; says what sysfs shows of them."""
    device = PCI / "devices" / pf
    (device / "sriov_drivers_autoprobe").write_text("0")
    (device / "sriov_numvfs").write_text(str(count))
    names = [(device / f"virtfn{i}").resolve().name for i in range(count)]
    ids = [(PCI / "devices" / name / "device").read_text().strip() for name in names]
    return {
        "total": int((device / "sriov_totalvfs").read_text()),
        "vfs": names,
        "ids": ids,
        "pf_of": [(PCI / "devices" / n / "physfn").resolve().name for n in names],
        "drivers": [(PCI / "devices" / n / "driver").exists() for n in names],
    }


def configure(pf: str) -> dict[str, Any]:
    """Sets MAC, VLAN, spoof check and trust of VF 0; reads both VFs back."""
    name = next((PCI / "devices" / pf / "net").iterdir()).name
    with IPRoute() as route:
        (index,) = route.link_lookup(ifname=name)
        route.link("set", index=index, state="up")
        route.link("set", index=index, vf={"vf": 0, "mac": "02:00:00:00:00:07"})
        route.link("set", index=index, vf={"vf": 0, "vlan": 100})
        route.link("set", index=index, vf={"vf": 0, "spoofchk": 0})
        route.link("set", index=index, vf={"vf": 0, "trust": 1})
        (link,) = route.link("get", index=index, ext_mask=EXT_MASK_VF)
        found = []
        for _, vf in attribute(link, "IFLA_VFINFO_LIST")["attrs"]:
            found.append(
                {
                    "mac": attribute(vf, "IFLA_VF_MAC")["mac"],
                    "vlan": attribute(vf, "IFLA_VF_VLAN")["vlan"],
                    "spoofchk": attribute(vf, "IFLA_VF_SPOOFCHK")["spoofchk"],
                    "trust": attribute(vf, "IFLA_VF_TRUST")["trust"],
                }
            )
    shown = subprocess.run(["ip", "link", "show", name], capture_output=True, text=True, check=True)
    return {"vfs": found, "ip": shown.stdout}


if __name__ == "__main__":
    address, number = sys.argv[1], int(sys.argv[2])
    collect("create", lambda: create(address, number))
    collect("configure", lambda: configure(address))
