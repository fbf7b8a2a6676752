# SPDX-License-Identifier: BSD-3-Clause
"""Every number that a user may give, with its range and unit: the one declaration.

Settings of a port, arguments of calls and options of the command line check with these rows. What
a PF allows is narrower at times, and is known only once a VF is open: `iavfio.port.settings`.
"""

from __future__ import annotations

from iavfio.arguments import Amount, Choice, Range

# A port's settings. The frame of an MTU carries 26 bytes more: Ethernet header, two tags, FCS.
QUEUES = Range(1, 16, "queue pairs", limit="iavfio drives at most 16 of a VF")
RING = Range(64, 8160, "descriptors", step=32)  # docs/spec/descriptors.md 10
MTU = Range(68, 9702, "bytes", limit="the longest frame of these cards has 9728 bytes")
ISA = Choice("code path", ("auto", "scalar", "avx2", "avx512", "neon"))

# Memory.
BUFFERS = Range(64, 1 << 24, "packet buffers")
NODE = Range(-1, 1023, "")  # the number of a NUMA node, -1 for any

# Calls of a running port.
BURST = Range(1, 256, "packets a call")
RECV = Range(1, 1 << 16, "packets a call")
PASSED = Range(0, 1 << 20, "packets")  # that wait for Python; 0: none may
WAIT = Amount(0, 1e6, "seconds")
SLEEP = Amount(-1e6, 1e6, "seconds", endless=-1)  # negative: without a limit
PERMISSIONS = Range(0, 0o777, "permission bits, as in 0o640")

CPU = Range(0, 1 << 16, "")  # the number of a CPU

# A run of generated traffic.
SECONDS = Amount(0, 1e7, "seconds", above=True)
WINDOW = Amount(0, 1e7, "seconds")  # 0: until it is finished
PACKETS = Range(1, 1 << 62, "packets")
LIMIT = Range(0, 1 << 62, "packets")  # 0: without one
RATE = Amount(0, 1e10, "packets a second")
PRECISION = Amount(0.0001, 0.5, "as a share of the rate")
EXCEED = Amount(0, 0.9, "as a share of the trials")  # of a rate that may fail
DECIDING = Range(1, 100, "trials")  # that decide about a rate
SEARCHES = Range(1, 1000, "searches")
WORSE = Amount(0, 1000, "percent")
PERCENT = Amount(0, 100, "percent")
SHARE = Amount(0, 1, "as a share of all packets")
SOAK = Amount(0, 1e7, "seconds")
RUNS = Range(1, 1000, "runs")
SIGNATURE = Range(0, (1 << 64) - 1, "")  # of the packets of a run; 0: they carry none
SENDERS = Range(0, 1 << 16, "lanes")
FLOWS = Range(1, 1 << 16, "UDP flows")
FRAME = Range(64, 9728, "bytes with FCS")
BARE_FRAME = Range(60, 9724, "bytes without FCS")
IMIX = (64,) * 7 + (594,) * 4 + (1518,)  # simple IMIX, 7:4:1
MOST_SIZES = 64  # frame sizes that a worker sends in turn

# Capture and replay.
SNAPLEN = Range(16, 1 << 18, "bytes")
QUEUE = Range(0, 15, "")  # the number of a queue
ROUNDS = Range(0, 1 << 40, "rounds")  # 0: without an end

# A software PF.
VFS = Range(1, 64, "VFs")
VF = Range(0, 63, "")  # the number of a VF

# Other options of the command line.
IOVA_BITS = Range(32, 57, "bits")
INTERVAL = Amount(0, 3600, "seconds")
EVERY = Amount(0.01, 3600, "seconds")  # between two lines of rates
LINES = Range(1, 1 << 32, "intervals")
GBIT = Amount(0, 10_000, "Gbit/s", above=True)
COLUMNS = Range(20, 1000, "columns")
