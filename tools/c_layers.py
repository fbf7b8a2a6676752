#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The layers of csrc/: which C file uses which, and whether that is upward or in a circle.

    tools/c_layers.py [--edges] [--quiet] [--root DIR] [--contract FILE]

A module is a `.c` file and the header of the same name. Module A uses module B when A includes B's
header, or when A names a function or an object with external linkage that B defines. What a macro
defines by pasting names together is not seen; a prototype alone is no use.

The contract (tools/c_layers.toml) has a table per room of csrc/. `layers` lists groups of modules
from the lowest to the highest: a module may use modules of its own group and of the groups before
it, never of one behind it. `may_use` lists what the room takes from other rooms. A module in no
group breaks the contract too, so that a new file has to be given its place.

The program prints for each room: modules, uses, levels (the longest chain of uses), uses that go
upward, and circles. Its exit status is 1 when anything goes upward, runs in a circle, or is not in
the contract.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'')
INCLUDE = re.compile(r'^#\s*include\s+"([^"]+)"', re.MULTILINE)
ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)")
FUNCTION = re.compile(r"^([A-Za-z_][\w \t*\n]*?)\b(\w+)\s*\(([^;{}]*)\)\s*\{", re.MULTILINE)
OBJECT = re.compile(r"^([A-Za-z_][\w \t*]*?)\b(\w+)\s*(?:\[[^\]]*\]\s*)*(?:=|;)", re.MULTILINE)
PROTOTYPE = re.compile(r"^(?:extern\b[^;{}]*|[A-Za-z_][\w \t*\n]*\([^;{}]*\)\s*);", re.MULTILINE)
CALL = re.compile(r"(?<![\w.>])(\w+)\s*\(")
NAME = re.compile(r"(?<![\w.>])(\w+)\b")
HIDDEN = re.compile(r"\b(static|HOOK|INLINE)\b")
NO_OBJECT = re.compile(r"\b(static|typedef|extern|return|goto)\b")


@dataclass
class Module:
    """One module: what it includes, defines for others, defines for itself, and names."""

    name: str
    includes: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    objects: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def read(self, text: str) -> None:
        """Adds what one file of the module holds."""
        text = COMMENT.sub(" ", text)
        self.includes |= {Path(path).with_suffix("").as_posix() for path in INCLUDE.findall(text)}
        code = "\n".join(
            "" if line.startswith("#") else line for line in STRING.sub('""', text).splitlines()
        )
        code = PROTOTYPE.sub("", ATTRIBUTE.sub("", code))
        for before, name, _ in FUNCTION.findall(code):
            (self.private if HIDDEN.search(before) else self.functions).add(name)
        for before, name in OBJECT.findall(code):
            if before.strip() in ("", "struct", "union", "enum"):
                continue
            if not NO_OBJECT.search(before):
                self.objects.add(name)
            elif "static" in before:
                self.private.add(name)
        self.calls |= set(CALL.findall(code))
        self.names |= set(NAME.findall(code))


def load(root: Path) -> dict[str, Module]:
    """Every module below `root`, by its path without suffix."""
    modules: dict[str, Module] = {}
    for path in sorted(root.rglob("*.[ch]")):
        name = path.relative_to(root).with_suffix("").as_posix()
        modules.setdefault(name, Module(name)).read(path.read_text(encoding="utf-8"))
    return modules


def room_of(name: str) -> str:
    return name.split("/", 1)[0]


def uses(modules: dict[str, Module]) -> dict[tuple[str, str], str]:
    """(user, used) of two modules, and what the use consists of."""
    found: dict[tuple[str, str], str] = {}
    for user in modules.values():
        for used in modules.values():
            if user is used:
                continue
            if used.name in user.includes:
                found[user.name, used.name] = "include"
            elif room_of(user.name) == room_of(used.name):
                shared = (user.calls & used.functions) | (user.names & used.objects)
                shared -= user.private | user.functions | user.objects
                if shared:
                    found[user.name, used.name] = ", ".join(sorted(shared)[:3])
    return found


def circles(names: Iterable[str], edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Strongly connected components of the modules, users first (Tarjan's algorithm)."""
    after: dict[str, list[str]] = {name: [] for name in names}
    for user, used in edges:
        after[user].append(used)
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for used in after[name]:
            if used not in order:
                visit(used)
                low[name] = min(low[name], low[used])
            elif used in stack:
                low[name] = min(low[name], order[used])
        if low[name] == order[name]:
            at = stack.index(name)
            found.append(stack[at:])
            del stack[at:]

    for name in after:
        if name not in order:
            visit(name)
    return found


def levels(parts: list[list[str]], edges: Iterable[tuple[str, str]]) -> int:
    """Modules in the longest chain of uses, a circle counted as one. `parts`: used ones first."""
    part_of = {name: i for i, part in enumerate(parts) for name in part}
    depth = [1] * len(parts)
    below: dict[int, set[int]] = {}
    for user, used in edges:
        if part_of[user] != part_of[used]:
            below.setdefault(part_of[user], set()).add(part_of[used])
    for i in range(len(parts)):
        depth[i] += max((depth[j] for j in below.get(i, ())), default=0)
    return max(depth, default=0)


@dataclass
class Contract:
    """What c_layers.toml says of one room."""

    layers: list[list[str]]
    may_use: list[str]

    def layer(self, name: str) -> int | None:
        """Number of the group that holds the module, 0 for the lowest; None when none does."""
        short = name.split("/", 1)[1]
        for i, group in enumerate(self.layers):
            if any(fnmatch(short, pattern) for pattern in group):
                return i
        return None

    def breach(self, user: str, used: str) -> str | None:
        """Says what is wrong with a use; returns None when nothing is."""
        if room_of(user) != room_of(used):
            allowed = any(fnmatch(used, pattern) for pattern in self.may_use)
            return None if allowed else "another room's"
        above, below = self.layer(user), self.layer(used)
        if above is None or below is None:
            return None  # said once for the module itself
        return "upward" if below > above else None


def read_contract(path: Path) -> dict[str, Contract]:
    with path.open("rb") as file:
        return {
            room: Contract(table["layers"], table.get("may_use", []))
            for room, table in tomllib.load(file).items()
        }


def check(
    room: str, modules: dict[str, Module], edges: dict[tuple[str, str], str], contract: Contract
) -> tuple[str, list[str]]:
    """The room's line of the report, and a line for each breach of its contract."""
    names = [name for name in modules if room_of(name) == room]
    own = [pair for pair in edges if room_of(pair[0]) == room]
    inner = [pair for pair in own if room_of(pair[1]) == room]
    parts = circles(names, inner)
    rings = [sorted(part) for part in parts if len(part) > 1]
    breaches = [
        f"{name} is in no layer of tools/c_layers.toml"
        for name in names
        if contract.layer(name) is None
    ]
    upward = 0
    for user, used in own:
        wrong = contract.breach(user, used)
        if wrong:
            upward += wrong == "upward"
            breaches.append(f"{user} uses {used} ({edges[user, used]}): {wrong}")
    breaches += [f"circle: {', '.join(ring)}" for ring in rings]
    largest = f" of up to {max(map(len, rings))} modules" if rings else ""
    line = (
        f"{room:8} {len(names):3} modules {len(own):4} uses {levels(parts, inner):3} levels "
        f"{upward:3} upward {len(rings):2} circles{largest}"
    )
    return line, breaches


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--root", type=Path, default=HERE.parent / "csrc")
    parser.add_argument("--contract", type=Path, default=HERE / "c_layers.toml")
    parser.add_argument("--edges", action="store_true", help="list every use")
    parser.add_argument("--quiet", action="store_true", help="print only what breaks the contract")
    args = parser.parse_args()
    modules = load(args.root)
    edges = uses(modules)
    broken = 0
    for room, contract in read_contract(args.contract).items():
        line, breaches = check(room, modules, edges, contract)
        if not args.quiet:
            print(line)
        for breach in breaches:
            print(f"  {breach}" if not args.quiet else f"csrc layers: {breach}")
        broken += len(breaches)
    if args.edges:
        for (user, used), how in sorted(edges.items()):
            print(f"{user} -> {used}: {how}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
