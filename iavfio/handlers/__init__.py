# SPDX-License-Identifier: BSD-3-Clause
"""Packet handlers: Python functions compiled by Numba and run inside C workers."""
