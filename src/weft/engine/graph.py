"""Questions about a graph that is known as a whole. None is recursive, all are linear in its size.

A graph is a mapping from each node to the nodes that it comes after: ``{"merge": ["estimate"], "estimate": []}``.
Nodes are hashable; a node that is only mentioned as a dependency counts as one without dependencies.
For tasks that arrive while others run see `weft.engine.scheduler`.
"""

from __future__ import annotations

import graphlib
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeAlias, TypeVar

from weft.errors import CycleError

__all__ = ["ancestors", "find_cycle", "leaves", "roots", "topological_order"]

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
