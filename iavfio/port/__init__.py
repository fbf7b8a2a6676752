# SPDX-License-Identifier: BSD-3-Clause
"""One VF with its settings, its negotiation with the PF, its resets and its events."""
