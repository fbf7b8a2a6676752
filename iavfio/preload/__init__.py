# SPDX-License-Identifier: BSD-3-Clause
"""Any VFIO program on a software VF: its VFIO calls become vfio-user messages.

with iavfio.preload.prepare(["/run/iavfio/vf0.sock"]) as preload:
    print(preload.bdfs)     # the PCI addresses under which the program finds the VFs
    preload.run(["dpdk-testpmd", "--no-huge", "-m", "256", "-a", preload.bdfs[0]])
"""

from __future__ import annotations

from iavfio.preload.launch import Preload, prepare

__all__ = ["Preload", "prepare"]
