"""Questions about a graph that is known as a whole. None is recursive, all are linear in its size.

A graph is a mapping from each node to the nodes that it comes after: ``{"merge": ["estimate"], "estimate": []}``.
Nodes are hashable; a node that is only mentioned as a dependency counts as one without dependencies.
For tasks that arrive while others run see `weft.engine.scheduler`.
"""

from __future__ import annotations

import graphlib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeAlias, TypeVar

from weft.errors import CycleError

__all__ = ["ancestors", "find_cycle", "find_cycles", "leaves", "roots", "topological_order"]

N = TypeVar("N", bound=Hashable)
Graph: TypeAlias = Mapping[N, Iterable[N]]


def topological_order(graph: Graph[N]) -> list[N]:
    """All nodes, each after those that it depends on; `CycleError` with the path where that cannot be."""
    try:
        return list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        path = " <- ".join(str(node) for node in reversed(error.args[1]))
        raise CycleError(
            f"dependencies form a cycle: {path} (each x <- y: x after y); remove one of these edges"
        ) from None


def find_cycle(graph: Graph[N]) -> list[N] | None:
    """One cycle as ``[b, a, b]``, each node after the one that follows it in the list; None where there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(reversed(error.args[1]))
    return None


def find_cycles(graph: Graph[N]) -> list[list[N]]:
    """One cycle, as `find_cycle` has it, of each knot: nodes of which each depends on each, directly or not."""
    found = []
    for knot in _knots(graph):
        cycle = find_cycle({node: [other for other in graph.get(node, ()) if other in knot] for node in knot})
        if cycle is not None:
            found.append(cycle)
    return found


def _knots(graph: Graph[N]) -> Iterator[dict[N, None]]:
    """The strongly connected components that may hold a cycle: Tarjan's algorithm, with its stack in a list."""
    if find_cycle(graph) is None:  # as it should be, and three times as fast
        return
    number: dict[N, int] = {}
    lowest: dict[N, int] = {}
    standing: dict[N, None] = {}  # numbered, and in no component yet, in the order of their numbers
    for start in graph:
        if start in number:
            continue
        way = [(start, iter(graph.get(start, ())))]
        number[start] = lowest[start] = len(number)
        standing[start] = None
        while way:
            node, others = way[-1]
            for other in others:
                if other not in number:
                    number[other] = lowest[other] = len(number)
                    standing[other] = None
                    way.append((other, iter(graph.get(other, ()))))
                    break
                if other in standing:
                    lowest[node] = min(lowest[node], number[other])
            else:
                way.pop()
                if way:
                    lowest[way[-1][0]] = min(lowest[way[-1][0]], lowest[node])
                if lowest[node] == number[node]:
                    yield _taken_from(standing, node)


def _taken_from(standing: dict[N, None], node: N) -> dict[N, None]:
    knot: dict[N, None] = {}
    while node not in knot:
        knot[standing.popitem()[0]] = None
    return knot


def leaves(graph: Graph[N]) -> list[N]:
    """The nodes that no other node comes after, in the graph's order."""
    inner = {dependency for dependencies in graph.values() for dependency in dependencies}
    return [node for node in graph if node not in inner]


def roots(graph: Graph[N]) -> list[N]:
    """The nodes that come after no other, in the order in which they are met."""
    return [node for node in _nodes(graph) if not list(graph.get(node, ()))]


def ancestors(graph: Graph[N], *nodes: N) -> set[N]:
    """All that `nodes` depend on, directly or not; a given node is among them only if another one needs it."""
    found: set[N] = set()
    todo = list(nodes)
    while todo:
        for dependency in graph.get(todo.pop(), ()):
            if dependency not in found:
                found.add(dependency)
                todo.append(dependency)
    return found


def _nodes(graph: Graph[N]) -> dict[N, None]:
    nodes: dict[N, None] = {}
    for node, dependencies in graph.items():
        nodes[node] = None
        nodes.update(dict.fromkeys(dependencies))
    return nodes
