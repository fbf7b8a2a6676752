# SPDX-License-Identifier: BSD-3-Clause
"""The logger of pyvfio, which prints nothing unless a program configures logging."""

from __future__ import annotations

import logging

log = logging.getLogger("iavfio.pyvfio")
log.addHandler(logging.NullHandler())
