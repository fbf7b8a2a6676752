# SPDX-License-Identifier: BSD-3-Clause
"""All targets by name: functions of Python, and programs of tests/c."""

from __future__ import annotations

from tests.fuzz import (
    capture_targets,
    driver_targets,
    file_targets,
    host_targets,
    option_targets,
    peer_targets,
)

HARNESSES = {  # target in C: program of tests/c
    "rx_tx": "driver_fuzz",
    "capture": "driver_capture_fuzz",
    "mirror": "driver_mirror_fuzz",
    "decode": "preload_fuzz",
    "frames": "softvf_fuzz",
    "pcap": "softvf_pcap_fuzz",
    "connection": "vfio_conn_fuzz",
}
MODULES = (
    driver_targets,
    file_targets,
    capture_targets,
    host_targets,
    option_targets,
    peer_targets,
)
TARGETS = {target.name: target for module in MODULES for target in module.TARGETS}
