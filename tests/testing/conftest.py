# SPDX-License-Identifier: BSD-3-Clause
"""In this checkout no entry point is installed, so the plugin is named."""

pytest_plugins = ["iavfio.testing.plugin"]
