# SPDX-License-Identifier: BSD-3-Clause
"""iavfio's host commands on a VF that a kernel driver and an interface in use hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guest.machine import Guest

INSIDE = Path(__file__).parent / "inside"
PF, VF = "0000:01:00.0", "0000:01:10.0"
Facts = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def facts(lab: None) -> Iterator[Facts]:
    """One boot of Debian's newest kernel; everything found out, by name."""
    igb = ["pcie-root-port,id=rp0,chassis=1", "igb,bus=rp0,netdev=n0,mac=52:54:00:00:00:01"]
    with Guest(iommu="intel", devices=igb, extra=["-netdev", "hubport,id=n0,hubid=0"]) as guest:
        guest.check("modprobe -a igb igbvf vfio-pci")
        found = guest.python(INSIDE / "sriov.py", PF, "2")
        found += guest.python(INSIDE / "host_tools.py", PF, VF, "igbvf", timeout=240)
    yield {str(fact["fact"]): fact for fact in found}


def take(facts: Facts, name: str) -> dict[str, Any]:
    """One fact. A check that failed inside the guest fails the test with its own words."""
    assert name in facts, f"the guest reported only {sorted(facts)}"
    fact = facts[name]
    assert "failed" not in fact, f"{fact['failed']}\n" + "\n".join(fact["where"])
    return fact


def test_list_shows_pf_and_vf(facts: Facts) -> None:
    found = take(facts, "host_list")
    assert found["pf"] == ["pf", "igb", True, 7]
    assert found["vf"] == ["vf", "igbvf", PF, 0, False, True]


def test_bind_refuses_an_interface_in_use(facts: Facts) -> None:
    before, found = take(facts, "host_before"), take(facts, "host_bind")
    assert found["refused"]["status"] != 0
    assert "--force" in found["refused"]["err"]
    assert before["interfaces"][0] in found["refused"]["err"]
    assert found["kept"] == {k: v for k, v in before.items() if k != "fact"}


def test_bind_dry_run_changes_nothing(facts: Facts) -> None:
    found = take(facts, "host_bind")
    assert found["dry"]["status"] == 0, found["dry"]["err"]
    assert "driver_override" in found["dry"]["out"]
    assert found["still"] == found["kept"]


def test_bind_with_force_gives_the_vf_to_vfio(facts: Facts) -> None:
    found = take(facts, "host_bind")
    assert found["forced"]["status"] == 0, found["forced"]["err"]
    assert found["after"] == {"driver": "vfio-pci", "override": "vfio-pci", "interfaces": []}
    assert "igbvf" in found["forced"]["out"]


def test_info_says_that_this_is_no_iavf_vf(facts: Facts) -> None:
    found = take(facts, "host_info")
    assert found["status"] != 0
    assert "Traceback" not in found["err"]
    assert "8086:10ca" in found["err"]
    assert len(found["err"].splitlines()) <= 3


def test_unbind_refuses_while_the_vf_is_open(facts: Facts) -> None:
    found = take(facts, "host_unbind")
    assert found["refused"]["status"] != 0
    assert "in use" in found["refused"]["err"]


def test_unbind_puts_everything_back(facts: Facts) -> None:
    before, found = take(facts, "host_before"), take(facts, "host_unbind")
    assert found["done"]["status"] == 0, found["done"]["err"]
    assert found["after"] == {k: v for k, v in before.items() if k != "fact"}
    assert all(VF not in record for record in found["records"])
