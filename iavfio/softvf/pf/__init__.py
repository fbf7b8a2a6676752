# SPDX-License-Identifier: BSD-3-Clause
"""The PF of the software VF: the virtchnl back end with the habits of ice and i40e."""

from iavfio.softvf.pf.driver import Pf

__all__ = ["Pf"]
