# SPDX-License-Identifier: BSD-3-Clause
"""Comparisons of signed with unsigned 64-bit integers in handlers, as Python has them: exact.

Numba compares such a pair as two doubles. That is wrong beyond 2^53, and slow where it matters: a
field of a packet (signed) against a number of the state (mostly u8) is what a filter branches on,
and a mispredicted branch is found out later by the length of the conversion.
"""

from __future__ import annotations

import operator
from importlib import import_module
from typing import Any

types: Any = import_module("numba").types
intrinsic: Any = import_module("numba.extending").intrinsic
_compiler: Any = import_module("numba.core.compiler")
_machinery: Any = import_module("numba.core.compiler_machinery")
_typed: Any = import_module("numba.core.typed_passes")
_signature: Any = import_module("numba.core.typing").signature
_ir: Any = import_module("numba.core.ir")

MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def _exact(predicate: str) -> Any:
    """An intrinsic that compares a signed with an unsigned number, in either order."""

    @intrinsic  # type: ignore[untyped-decorator,unused-ignore]
    def compare(context: Any, left: Any, right: Any) -> Any:
        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            first = sig.args[0].signed
            signed, unsigned = args if first else reversed(args)
            relation = predicate if first else MIRRORED[predicate]
            zero = signed.type(0)
            # Whatever is below zero is below every unsigned number.
            below = builder.icmp_signed(relation, signed.type(-1), zero)
            plain = builder.icmp_unsigned(relation, signed, unsigned)
            return builder.select(builder.icmp_signed("<", signed, zero), below, plain)

        return _signature(types.boolean, left, right), lower

    return compare


EXACT = {
    operator.eq: _exact("=="),
    operator.ne: _exact("!="),
    operator.lt: _exact("<"),
    operator.le: _exact("<="),
    operator.gt: _exact(">"),
    operator.ge: _exact(">="),
}


class ExactComparisons(_machinery.FunctionPass):  # type: ignore[misc]
    """A step of the compiler, after type inference: mixed comparisons become exact ones."""

    _name = "iavfio_exact_comparisons"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Whether something was changed."""
        changed = False
        for block in state.func_ir.blocks.values():
            for assignment in block.find_insts(_ir.Assign):
                expression = assignment.value
                if not isinstance(expression, _ir.Expr) or expression.op != "binop":
                    continue
                both = [state.typemap[of.name] for of in (expression.lhs, expression.rhs)]
                if expression.fn not in EXACT or not _mixed(both):
                    continue
                wide = [types.int64 if one.signed else types.uint64 for one in both]
                state.calltypes.pop(expression)  # nothing in it can be replaced
                state.calltypes[expression] = _signature(types.boolean, *wide)
                expression.fn = EXACT[expression.fn]
                changed = True
        return changed


def _mixed(both: list[Any]) -> bool:
    """Numba takes all other pairs of integers as integers."""
    if not all(isinstance(one, types.Integer) for one in both):
        return False
    return both[0].signed != both[1].signed and any(
        one.bitwidth == 64 and not one.signed for one in both
    )


class Compiler(_compiler.CompilerBase):  # type: ignore[misc]
    """Numba's own compiler for functions without objects, with ExactComparisons added."""

    def define_pipelines(self) -> list[Any]:
        """The one pipeline of this compiler."""
        passes = _compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(ExactComparisons, _typed.NopythonTypeInference)
        passes.finalize()
        return [passes]


_machinery.register_pass(mutates_CFG=False, analysis_only=False)(ExactComparisons)
