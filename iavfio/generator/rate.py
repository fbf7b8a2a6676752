# SPDX-License-Identifier: BSD-3-Clause
"""How fast a stream goes: frames or bits a second, or a share of the link's speed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from iavfio.arguments import shown
from iavfio.bench.plan import WIRE_OVERHEAD
from iavfio.capture.schedule import Timing, parse_rate
from iavfio.datapath.pair import FCS
from iavfio.errors import ConfigError

SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%", re.ASCII)
AT_ONCE = Timing()
ADVICE = "write 1000, 10kpps, 1.5Mpps, 100Mbit/s, 2.5Gbit/s, 10% of line rate, or max"


@dataclass(frozen=True)
class Rate:
    """A rate as it was asked for; `share` is of the link's speed. All 0: as fast as possible."""

    timing: Timing = AT_ONCE
    share: float = 0.0

    @property
    def paced(self) -> bool:
        """Whether it is limited at all."""
        return bool(self.share or self.timing.pps or self.timing.bps)

    def pps(self, length: float, mbps: int) -> float:
        """Frames a second for frames of that mean length without FCS; 0: as fast as possible.

        `mbps`: speed of the link. Raises ConfigError where it is unknown and needed.
        """
        if self.share:
            if not mbps:
                raise ConfigError(
                    f"a rate of {self.share:.2%} of line rate is not possible",
                    "the PF does not tell the link's speed",
                    "give the rate in pps or bit/s",
                )
            return self.share * mbps * 1e6 / (8 * (length + FCS + WIRE_OVERHEAD))
        if self.timing.bps:
            return self.timing.bps / (8 * (length + FCS))
        return self.timing.pps

    def __str__(self) -> str:
        return f"{self.share * 100:g}% of line rate" if self.share else str(self.timing)


def parse_stream_rate(given: object) -> Rate:
    """The rate of "10kpps", "100Mbit/s", "10%", "max", or a number of frames a second.

    Raises ConfigError.
    """
    text = f"{given:g}" if isinstance(given, float) else str(given)
    if text == "max":
        return Rate()
    share = SHARE.fullmatch(text)
    if share and 0 < float(share[1]) <= 100:
        return Rate(share=float(share[1]) / 100)
    try:
        if not share and not isinstance(given, bool):
            return Rate(parse_rate(text))
    except ConfigError:
        pass
    raise ConfigError(
        f"rate={shown(given)} is not possible",
        "a rate is a number of frames or bits a second, or a share of line rate up to 100%",
        ADVICE,
    )
