# SPDX-License-Identifier: BSD-3-Clause
"""What running ports do at the moment, seen from any process: rates, events, a live view."""

from iavfio.live.follower import Follower, Interval
from iavfio.live.rates import PortRates, PortTotal, rates
from iavfio.live.watch import Watch

__all__ = ["Follower", "Interval", "PortRates", "PortTotal", "Watch", "rates"]
