# SPDX-License-Identifier: BSD-3-Clause
"""`python -m iavfio`: the command line."""

from iavfio.cli import main

main()
