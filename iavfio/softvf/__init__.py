# SPDX-License-Identifier: BSD-3-Clause
"""The software VF: a vfio-user server that stands in for a PF, its VFs and the wire.

with iavfio.softvf(vfs=2) as pf:
    a, b = pf.open(0), pf.open(1)
    pf.control("link", vf=0, state="disable")
    pf.violations()     # what drivers did wrong, in words
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspect import Signature

    from iavfio.softvf.launch import SoftPf, softvf

__all__ = ["SoftPf", "softvf"]


def __getattr__(name: str) -> Any:
    # The server's own process imports this package and must stay light.
    if name in __all__:
        from iavfio.softvf import launch

        return getattr(launch, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _CallableModule(ModuleType):
    """`iavfio.softvf` is this package and the function that starts a software VF."""

    @property
    def __signature__(self) -> Signature:
        """The function's signature, for inspect.signature, help() and completion."""
        from inspect import signature

        from iavfio.softvf import launch

        return signature(launch.softvf)

    def __call__(self, *args: Any, **options: Any) -> SoftPf:
        from iavfio.softvf import launch

        return launch.softvf(*args, **options)


sys.modules[__name__].__class__ = _CallableModule
