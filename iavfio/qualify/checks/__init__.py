# SPDX-License-Identifier: BSD-3-Clause
"""The checks, in their order: what is read comes before what is changed, the long ones last."""

from __future__ import annotations

from iavfio.qualify.checks import counting, device, filters, resets, soak, timing, traffic, vlan
from iavfio.qualify.outcome import Check

CHECKS: tuple[Check, ...] = (
    Check("host", "this user may open the VFs", device.host, traffic=False),
    Check("identity", "an adaptive VF with its BAR and vectors", device.identity, traffic=False),
    Check("negotiation", "the PF's answers make sense", device.negotiation, traffic=False),
    Check("link", "the link comes up", device.link, traffic=False),
    Check("both-ways", "frames arrive unchanged and in order", traffic.first_way, traffic=False),
    Check("queues", "each queue pair sends and receives", traffic.queues),
    Check("code-paths", "each instruction set and descriptor format", traffic.code_paths),
    Check("checksums", "right and wrong checksums are told apart", traffic.checksums),
    Check("sizes", "each frame size up to the PF's limit", traffic.sizes),
    Check("rss", "hash and queue are those of our own Toeplitz", traffic.rss),
    Check("counters", "driver, PF and frames agree", counting.counters),
    Check("addresses", "MAC filters come into force and go", filters.addresses),
    Check("broadcast", "broadcast arrives", filters.broadcast),
    Check("multicast", "groups arrive when asked for", filters.multicast),
    Check("promiscuity", "in force or not, and off again", filters.promiscuity),
    Check("spoof", "a foreign source is sent or counted", filters.spoof),
    Check("vlan", "tags are exact, and filters hold back", vlan.vlan),
    Check("interrupts", "each sleeping receiver is woken", timing.interrupts),
    Check("write-back", "a packet alone is written back", timing.write_back),
    Check("restarts", "stop and start lose nothing", resets.restarts),
    Check("own-reset", "RESET_VF: the port comes back", resets.own_reset),
    Check("function-reset", "FLR from outside: the port comes back", resets.function_reset),
    Check("reset-traffic", "a reset under traffic loses no buffer", resets.reset_under_traffic),
    Check("reopening", "close and open leave no trace", resets.reopening),
    Check("unbind", "the host takes the VF away under traffic", resets.unbind),
    Check("latency", "one frame at a time", timing.latency),
    Check("throughput", "64, 512 and 1518 bytes at full rate", timing.throughput),
    Check("soak", "verified traffic for a long time", soak.soak),
)
NAMES = tuple(check.name for check in CHECKS)
