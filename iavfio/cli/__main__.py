# SPDX-License-Identifier: BSD-3-Clause
"""`python -m iavfio.cli`."""

from iavfio.cli import main

main()
