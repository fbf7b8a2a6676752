# SPDX-License-Identifier: BSD-3-Clause
"""Writes the C glue of one cffi extension (API mode, abi3).

Usage: build_ffi.py MODULE OUTPUT.c INCLUDE[,INCLUDE...] -- CDEF...

MODULE is the dotted module name, each INCLUDE a header that the glue includes, each CDEF a header
that cffi reads. Layout headers serve both C and cffi, so preprocessor lines are dropped here, but
for `#define NAME <integer>`, which cffi turns into a constant.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from cffi import FFI

LITERAL = re.compile(r"#define\s+(\w+)\s+(0[xX][0-9a-fA-F]+|\d+)[uUlL]*\s*(/\*.*)?$")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def cdef_of(text: str) -> str:
    """The part of a header that cffi understands: declarations and literal constants."""
    lines = []
    for line in COMMENT.sub("", text).splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            literal = LITERAL.match(stripped)
            if literal:
                lines.append(f"#define {literal[1]} {literal[2]}")
        else:
            lines.append(line)
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    split = argv.index("--")
    module, output, *includes = argv[:split]
    ffi = FFI()
    for cdef in argv[split + 1 :]:
        ffi.cdef(cdef_of(Path(cdef).read_text(encoding="utf-8")))
    prelude = "".join(f'#include "{name}"\n' for item in includes for name in item.split(","))
    ffi.set_source(module, prelude, py_limited_api=True)
    ffi.emit_c_code(output)


if __name__ == "__main__":
    main(sys.argv[1:])
