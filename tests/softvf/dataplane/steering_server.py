# SPDX-License-Identifier: BSD-3-Clause
"""A software VF whose PF grants the flow director, as the software PFs never do, and has rules.

    python -m tests.softvf.dataplane.steering_server ARGUMENTS OF python -m iavfio.softvf

UDP to port 2001 goes to queue 1 with mark 0x80c0ffee, to port 2002 where RSS says with mark 0.
"""

from __future__ import annotations

import dataclasses
import sys

from iavfio.softvf import __main__ as program
from iavfio.softvf._device import lib
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.personality import Personality
from iavfio.softvf.pf import resources
from iavfio.softvf.vf_config import FlowAction, FlowRule, VfConfig

MARK = 0x80C0FFEE
GRANTED, PUBLISH = resources.grantable, DataPlane.publish


def template(port: int) -> bytes:
    """Zeros but for what the rule is of."""
    frame = bytearray(46)
    frame[12:15], frame[23], frame[36:38] = b"\x08\0\x45", 17, port.to_bytes(2)
    frame[17] = 32
    return bytes(frame)


def rule(port: int, action: FlowAction, mark: int) -> FlowRule:
    headers = lib.SOFTVF_HAS_IPV4 | lib.SOFTVF_HAS_UDP
    return FlowRule(headers, lib.SOFTVF_OF_DST_PORT, template(port), action, 1, 1, mark)


FLOWS = (rule(2001, FlowAction.QUEUE, MARK), rule(2002, FlowAction.PASS, 0))


def grantable(personality: Personality, port_vlan: int, asked: int) -> int:
    return GRANTED(personality, port_vlan, asked) | asked & int(lib.VC_CAP_FDIR_PF)


def publish(plane: DataPlane, vf: int, config: VfConfig) -> None:
    PUBLISH(plane, vf, dataclasses.replace(config, flows=FLOWS))


if __name__ == "__main__":
    resources.grantable = grantable
    DataPlane.publish = publish  # type: ignore[method-assign, assignment]
    sys.exit(program.main())
