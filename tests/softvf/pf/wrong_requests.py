# SPDX-License-Identifier: BSD-3-Clause
"""Requests of the administrator that no PF of one VF carries out, for their arguments."""

from __future__ import annotations

from typing import Any

WRONG: tuple[dict[str, Any], ...] = (
    {},
    {"command": "dance"},
    {"command": ["link"]},
    {"command": "link"},
    {"command": "link", "vf": 0},
    {"command": "link", "vf": 0, "state": "up"},
    {"command": "link", "state": "auto"},
    {"command": "link", "state": "up", "speed": 12345},
    {"command": "trust", "vf": 0},
    {"command": "trust", "vf": 0, "on": 1},
    {"command": "trust", "vf": 1, "on": True},
    {"command": "trust", "vf": -1, "on": True},
    {"command": "trust", "vf": True, "on": True},
    {"command": "trust", "vf": "0", "on": True},
    {"command": "mac", "vf": 0, "mac": "2:0:0:0:0:1"},
    {"command": "mac", "vf": 0, "mac": "01:00:5e:00:00:01"},
    {"command": "mac", "vf": 0, "mac": 5},
    {"command": "vlan", "vf": 0, "vlan": 4095},
    {"command": "reset", "vf": 0, "latency_ms": -1},
    {"command": "reset", "vf": 0, "latency_ms": "long"},
    {"command": "pf_reset", "kind": "flr"},
    {"command": "pf_driver", "state": "gone"},
    {"command": "fault", "vf": 0, "kind": "sulk"},
    {"command": "fault", "vf": 0, "kind": "delay"},
    {"command": "fault", "vf": 0, "kind": "delay", "value": -1},
    {"command": "fault", "vf": 0, "kind": "drop", "count": 0},
    {"command": "fault", "vf": 0, "kind": "tx_stall", "queue": 16},
    {"command": "fault", "vf": 0, "kind": "tx_stall", "queue": 0, "on": 1},
    {"command": "fault", "vf": 0, "kind": "aq_error", "queue": "atq"},
    {"command": "fault", "vf": 0, "kind": "aq_error", "queue": "tx", "error": "crit"},
    {"command": "udp_tunnel", "kind": "gre", "port": 4789},
    {"command": "udp_tunnel", "kind": "vxlan", "port": 0},
    {"command": "udp_tunnel", "kind": "vxlan", "port": 65536},
    {"command": "send", "vf": 0, "opcode": 17, "payload": "0"},
    {"command": "send", "vf": 0, "opcode": 17, "payload": "zz"},
    {"command": "stats_base", "vf": 0, "values": [1]},
    {"command": "stats_base", "vf": 0, "values": [-1] * 12},
)
