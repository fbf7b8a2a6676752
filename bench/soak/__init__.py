# SPDX-License-Identifier: BSD-3-Clause
"""Two ports of a software PF under resets, link flaps, reconfiguration and bad neighbours.

    python -m bench.soak [--seconds 600] [--seed 1] [--report soak.json]

Rounds without end: frames go from each port to the other, numbered ones of Python or a C worker's,
while something happens to one of them, a driver of another VF is killed, or a hostile client of
another VF storms. Then as many again in peace. Of the former some may be lost where a port was
reset, but none may come twice, be changed, or come out of order; of the latter each must come.
Memory, descriptors, mappings, threads and what the software PF holds against the ports are watched,
and at the end every buffer must be back. Exit status 1 when anything of that is not so, 130 when a
signal ended the run. A run of the same seed does the same things in the same order.
"""
