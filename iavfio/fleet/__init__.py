# SPDX-License-Identifier: BSD-3-Clause
"""One measurement over a fleet of hosts: some send, others receive, and the sums are of all.

What starts and reaches the hosts is dask.distributed (the extra iavfio[fleet]).
"""

from iavfio.fleet.fleet import Fleet
from iavfio.fleet.ndr import FleetSearch
from iavfio.fleet.plan import Cluster, FleetPlan, Goals, Host
from iavfio.fleet.read import read_plan
from iavfio.fleet.result import FleetResult

__all__ = [
    "Cluster",
    "Fleet",
    "FleetPlan",
    "FleetResult",
    "FleetSearch",
    "Goals",
    "Host",
    "read_plan",
]
