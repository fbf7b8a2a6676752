# SPDX-License-Identifier: BSD-3-Clause
"""Names and versions of the JSON objects of `iavfio vf`; `records.py` has their types."""

PF = "iavfio.vf.pf/1"
CHANGE = "iavfio.vf.change/1"
