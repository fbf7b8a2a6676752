# SPDX-License-Identifier: BSD-3-Clause
"""The X710 that Linux's i40e programs: its queues and its switch."""
