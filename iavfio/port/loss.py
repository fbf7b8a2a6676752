# SPDX-License-Identifier: BSD-3-Clause
"""Why a device that is lost is lost, in words."""

from __future__ import annotations

from iavfio.errors import DeviceLost
from iavfio.pyvfio import Device


def loss_of(device: Device, gone: str) -> str:
    """Why a lost device is lost; `gone` where nothing more is known."""
    loss = device.loss
    return f"the device does not answer: {loss}" if loss else gone


def why_of(device: Device, error: Exception) -> str:
    """What an error means: a server that was given up, after a signal at once, is not gone."""
    return loss_of(device, str(error)) if isinstance(error, DeviceLost) else str(error)
