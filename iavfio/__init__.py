# SPDX-License-Identifier: BSD-3-Clause
"""iavfio: Intel adaptive VFs in user space."""

__version__ = "0.1.0"
