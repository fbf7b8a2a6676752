# SPDX-License-Identifier: BSD-3-Clause
"""The vfio-user server of the software VF: sockets, connections, requests."""
