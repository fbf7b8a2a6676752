# SPDX-License-Identifier: BSD-3-Clause
"""Buffers, queues and bursts as programs use them; the loops themselves are C (csrc/driver)."""
