# SPDX-License-Identifier: BSD-3-Clause
"""A neighbour is served while a client storms (docs/spec/reliability.md D4, D6, D7).

How long it waits is measured by `make bench-neighbour`; here it is served at all, in order, and
rightly, whatever the machine is busy with.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from iavfio.softvf import softvf
from tests.hostile.raw_driver import RawDriver
from tests.hostile.storms import STORMS, storm
from tests.softvf.function.mailbox_rings import RSTAT
from tests.softvf.server.raw_client import RawClient


# docs/spec/reliability.md D4, D6, D7
@pytest.mark.parametrize("name", STORMS)
def test_a_neighbour_is_served_during(name: str) -> None:
    with softvf(vfs=3, uplink="none", options={"reset_ms": 1}) as pf:
        paths = [Path(each.removeprefix("vfio-user:")) for each in pf.sockets]
        victim = RawDriver(paths[1])
        victim.open()
        bystander = RawClient(paths[2])
        with storm(name, paths[0]):
            for number in range(100):
                assert victim.client.read32(RSTAT) == 2
                victim.send_frames(number)
                assert bystander.read32(RSTAT) in (0, 2)
            assert pf.control("ping") == {}
        info = pf.control("info")
        assert [vf["faults"] for vf in info["vfs"]] == [0, 0, 0]
        stats = pf.control("stats", vf=1)["stats"]
        assert (stats["tx_unicast"], stats["tx_errors"], stats["tx_discards"]) == (100, 0, 0)
        victim.close()
        bystander.close()
