# SPDX-License-Identifier: BSD-3-Clause
"""Where a number comes from: a figure without it means nothing."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from pathlib import Path

from iavfio import __version__

SOFTWARE = "software VF (not a NIC)"


def cpu_model() -> str:
    """The CPU as /proc/cpuinfo names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def hardware() -> str:
    """What a device of the kernel's is: in a guest nobody can tell it from a software one."""
    try:
        vendor = Path("/sys/class/dmi/id/sys_vendor").read_text(encoding="utf-8").strip()
    except OSError:
        return "hardware"
    if vendor == "QEMU":
        return f"in a QEMU guest: perhaps a {SOFTWARE}"
    return "hardware"


@functools.cache
def commit() -> str:
    """The checkout's commit, "" for an installed package. git is asked once, so that whoever wants
    to know it after a signal asks before there can be one.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        shown = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except OSError:
        return ""
    return shown.stdout.strip()


def provenance(devices: dict[str, str]) -> dict[str, object]:
    """CPU, kernel, software and devices; `devices` maps port name to what plays the device."""
    return {
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "iavfio": __version__,
        "commit": commit(),
        "devices": devices,
        "software_device": any(SOFTWARE in text for text in devices.values()),
    }
