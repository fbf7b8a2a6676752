# SPDX-License-Identifier: BSD-3-Clause
"""The software VF's PF is Linux's own: its i40e or ice, in a process of its own, programs the card.

`driver.py` carries messages to it and its answers back, `i40e` and `ice` play the card that each
programs (`card.py` is what they have in common), `administrator.py` has the commands of the
control socket.
"""

from iavfio.softvf.linux_pf.driver import LinuxPf
from iavfio.softvf.linux_pf.start import KERNELS, check, check_options, kernel, personality, start

__all__ = ["KERNELS", "LinuxPf", "check", "check_options", "kernel", "personality", "start"]
