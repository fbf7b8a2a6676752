# SPDX-License-Identifier: BSD-3-Clause
"""Names and versions of the JSON objects of `iavfio doctor`; `records.py` has their types."""

REPORT = "iavfio.doctor.report/1"
UNDONE = "iavfio.doctor.undone/1"
