# SPDX-License-Identifier: BSD-3-Clause
"""Where a number comes from: processor, kernel, compiler, commit, load."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from bench.ring.program import ROOT


def cpu_model() -> str:
    """The processor as the kernel names it, with family, model and stepping."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name", platform.processor() or "unknown")
    numbers = "/".join(fields.get(key, "?") for key in ("cpu family", "model", "stepping"))
    return f"{name} ({numbers})"


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return (done.stdout.splitlines() or ["unknown"])[0]


def _setting(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return "unknown"


def commit() -> str:
    """The tree's commit, `+changes` when files differ from it; `unknown` outside a repository."""
    git = ("git", "-C", str(ROOT))
    head = _first_line(*git, "rev-parse", "--short", "HEAD")
    changed = _first_line(*git, "status", "--porcelain", "--untracked-files=no") != "unknown"
    return f"{head}+changes" if changed and head != "unknown" else head


def gather(dpdk: str | None, turns: int, cpus: str) -> dict[str, Any]:
    """Everything known before the run."""
    return {
        "device": "none: rings in plain memory, the bench writes the descriptors back",
        "cpu": cpu_model(),
        "cpus": cpus,
        "kernel": platform.release(),
        "compiler": _first_line(os.environ.get("CC", "cc"), "--version"),
        "huge_pages": _setting("/sys/kernel/mm/transparent_hugepage/enabled"),
        "dpdk": dpdk,
        "commit": commit(),
        "turns": turns,
        "load_before": round(os.getloadavg()[0], 2),
    }
