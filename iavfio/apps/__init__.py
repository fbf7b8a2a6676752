# SPDX-License-Identifier: BSD-3-Clause
"""Applications: policy in Python, loops in C."""
