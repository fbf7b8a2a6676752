# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio bench`: throughput with exact accounting, and where each number comes from."""
