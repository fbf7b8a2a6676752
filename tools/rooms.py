#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The rooms of iavfio/: how many import each other, over how many levels, upward, and in circles.

    tools/rooms.py [ROOT] [--edges]

A room is a module or a package directly below iavfio/; the package itself, which names what is
public, is none. An import counts once for each pair of modules in different rooms. Levels are the
rooms of the longest chain of imports, where rooms that import each other count as one. Upward
imports are the fewest that would have to go for all circles to open. The figures come twice: of
what is imported when the program runs, and with what is imported for type checking alone. The
contract that `make lint` holds the rooms to is in .importlinter; this program gives the figures, of
any checkout: ROOT is this one by default.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import grimp

PACKAGE = "iavfio"
Edges = Counter[tuple[str, str]]


def room_of(module: str) -> str | None:
    """The room that holds the module; None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def edges_between_rooms(graph: grimp.ImportGraph) -> Edges:
    """(importer, imported) of two rooms, and how many imports between modules that stands for."""
    found: Edges = Counter()
    for module in sorted(graph.modules):
        user = room_of(module)
        for imported in graph.find_modules_directly_imported_by(module):
            used = room_of(imported)
            if user and used and user != used:
                found[user, used] += 1
    return found


def circles(rooms: set[str], edges: Edges) -> list[set[str]]:
    """Groups of rooms that reach each other."""
    reach = {room: {used for user, used in edges if user == room} for room in rooms}
    changed = True
    while changed:
        changed = False
        for room in rooms:
            further = set().union(*(reach[other] for other in reach[room])) - reach[room]
            reach[room] |= further
            changed = changed or bool(further)
    groups: list[set[str]] = []
    for room in sorted(rooms):
        group = {other for other in reach[room] if room in reach[other]}
        if len(group) > 1 and group not in groups:
            groups.append(group)
    return groups


def levels(rooms: set[str], edges: Edges, groups: list[set[str]]) -> list[list[str]]:
    """The rooms by level, lowest first: each imports lower ones only, but for its own circle."""
    group_of = {room: frozenset([room]) for room in rooms}
    group_of.update((room, frozenset(group)) for group in groups for room in group)
    below: dict[frozenset[str], set[frozenset[str]]] = {group: set() for group in group_of.values()}
    for user, used in edges:
        if group_of[user] != group_of[used]:
            below[group_of[user]].add(group_of[used])
    found: list[list[str]] = []
    placed: set[frozenset[str]] = set()
    while len(placed) < len(below):
        level = {group for group in below if group not in placed and below[group] <= placed}
        found.append(sorted(room for group in level for room in group))
        placed |= level
    return found


def upward(graph: grimp.ImportGraph) -> int:
    """The fewest imports between rooms without which there is no circle."""
    count = 0
    for user, used in graph.nominate_cycle_breakers(PACKAGE):
        importers = graph.find_descendants(user) | {user}
        imported = graph.find_descendants(used) | {used}
        count += sum(
            len(graph.find_modules_directly_imported_by(module) & imported) for module in importers
        )
    return count


def report(graph: grimp.ImportGraph, title: str) -> None:
    rooms = {room for room in map(room_of, graph.modules) if room}
    edges = edges_between_rooms(graph)
    groups = circles(rooms, edges)
    order = levels(rooms, edges, groups)
    print(
        f"{title}: {len(rooms)} rooms, {edges.total()} imports between them, {len(order)} levels, "
        f"{upward(graph)} upward, {len(groups)} circles"
    )
    for group in groups:
        print(f"  circle of {len(group)}: {', '.join(sorted(group))}")
    for number, level in reversed(list(enumerate(order, 1))):
        print(f"  {number:2}  {', '.join(level)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("root", type=Path, nargs="?", default=here)
    parser.add_argument("--edges", action="store_true", help="list the imports between rooms")
    args = parser.parse_args()
    sys.path.insert(0, str(args.root.resolve()))
    for title, without in (("at run time", True), ("with types", False)):
        graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=without, cache_dir=None)
        report(graph, title)
    if args.edges:
        for (user, used), count in sorted(edges_between_rooms(graph).items()):
            print(f"  {user} -> {used}: {count}")


if __name__ == "__main__":
    main()
