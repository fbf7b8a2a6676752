# SPDX-License-Identifier: BSD-3-Clause
"""Counters of running ports for other tools: metrics for Prometheus, DPDK's telemetry socket."""
