# SPDX-License-Identifier: BSD-3-Clause
"""What the administrator of a PF of Linux's is refused; no judge is needed for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from iavfio.errors import ConfigError
from iavfio.softvf.linux_pf.administrator import COMMANDS
from iavfio.softvf.personality import TUNNEL_LIMIT
from tests.softvf.linux_pf.live_rig import Made
from tests.softvf.pf.pf_rig import rig
from tests.softvf.pf.wrong_requests import WRONG


@pytest.fixture
def made() -> Iterator[Made]:
    with rig("e810") as spare:
        yield Made(spare)


@pytest.mark.parametrize("request_", WRONG)
def test_what_a_software_pf_refuses_is_refused(made: Made, request_: dict[str, Any]) -> None:
    """With a reason, and nothing has changed."""
    before = made.pf.snapshot(0)
    with pytest.raises(ConfigError):
        made.pf.control(request_)
    assert made.pf.snapshot(0) == before and made.clock.waiting == 0


def test_a_card_has_room_for_some_tunnels(made: Made) -> None:
    tunnel: dict[str, Any] = {"command": "udp_tunnel", "kind": "vxlan"}
    ports = [str(1000 + number) for number in range(TUNNEL_LIMIT)]
    for port in ports:
        told = made.pf.control({**tunnel, "port": int(port)})
    assert [*told["tunnels"]] == ports
    with pytest.raises(ConfigError, match=f"room for {TUNNEL_LIMIT} tunnels"):
        made.pf.control({**tunnel, "port": 999})
    assert made.pf.control({**tunnel, "port": 1000})["tunnels"] == told["tunnels"]
    made.pf.control({**tunnel, "port": 1000, "on": False})
    assert "999" in made.pf.control({**tunnel, "port": 999})["tunnels"]


def test_each_command_that_is_named_is_one(made: Made) -> None:
    with pytest.raises(ConfigError) as error:
        made.pf.control({"command": "bogus"})
    named = error.value.remedy.removeprefix("this PF has ").split(";")[0].split(", ")
    assert {*named} == COMMANDS.keys() - {"rate"}  # which this card has not
    for name in named:
        try:
            made.pf.control({"command": name, "vf": 0})
        except ConfigError as refusal:
            assert "there is no command" not in str(refusal)
