# SPDX-License-Identifier: BSD-3-Clause
"""The E810 that Linux's ice programs: its queues and its switch."""
