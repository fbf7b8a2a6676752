# SPDX-License-Identifier: BSD-3-Clause
"""What an error advises can be done, and the numbers that it names are those of the PF."""

from __future__ import annotations

import re

import pytest

import iavfio
from iavfio import ConfigError
from iavfio.errors import ItemRefused


@pytest.mark.parametrize("max_mtu", [1022, 1522, 4000, 9728])
def test_an_mtu_is_advised_only_where_this_pf_allows_it(max_mtu: int) -> None:
    longest = max_mtu - 4  # the PF counts the FCS
    with iavfio.softvf(options={"max_mtu": max_mtu}) as pf, pf.open() as port:
        for size in (longest + 1, longest + 100):
            port.configure(mtu=500)
            port.start()
            with pytest.raises(ConfigError) as caught:
                port.tx[0].build([bytes(size)])
            port.stop()
            assert re.search(rf"lets? .*more than {longest} bytes through", str(caught.value))
            assert "configure" not in caught.value.remedy
        port.start()
        with pytest.raises(ConfigError) as caught:
            port.tx[0].build([bytes(longest)])
        port.stop()
        found = re.search(r"configure\(mtu=(\d+)\)", caught.value.remedy)
        assert found is not None
        port.configure(mtu=int(found[1]))
        port.start()
        port.tx[0].build([bytes(longest)]).release()


def further(count: int) -> list[str]:
    return [f"02:00:00:00:02:{i:02x}" for i in range(count)]


@pytest.mark.parametrize("first", [0, 16, 63])
def test_the_room_for_addresses_is_the_same_whatever_was_there(first: int) -> None:
    with iavfio.softvf(options={"trusted": True}) as pf, pf.open() as port:
        port.configure(extra_macs=further(first))
        port.start()
        port.stop()
        port.configure(extra_macs=further(64))
        with pytest.raises(ItemRefused) as caught:
            port.start()
        assert "no room for more than 63 further addresses" in caught.value.cause
        assert "use fewer extra_macs" in caught.value.remedy
        port.configure(extra_macs=further(63))
        port.start()


def test_an_x710_says_success_where_its_switch_is_full() -> None:
    """So its VF cannot know; the software PF does."""
    options = {"trusted": True}
    with iavfio.softvf(personality="x710", options=options) as pf, pf.open() as port:
        port.configure(extra_macs=further(64))
        port.start()
        notes = [each["text"] for each in pf.control("log")["entries"]]
        assert any("65 addresses" in text and "room" in text for text in notes), notes
