"""The import graph: which imports run in a circle, what lies below what, who carries most.

A graph here is a dict from each node to the set of nodes it imports; every node is a key. Nothing recurses.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from atlas.survey import Package
from weft import task

Nodes = Mapping[str, Set[str]]

DAMPING = 0.85
ROUNDS = 60


@dataclass(frozen=True)
class ImportGraph:
    """The graph between units and what it says about each of them, in the order of ``names``."""

    names: tuple[str, ...]
    edges: tuple[tuple[str, str, int], ...]
    """(importer, imported, number of files that do), for imports made when a module is imported."""
    layers: tuple[int, ...]
    """0 imports nothing of the atlas; each unit lies one layer above the highest that it imports."""
    dependents: tuple[int, ...]
    ranks: tuple[float, ...]
    cycles: tuple[tuple[str, ...], ...]
    """Units that import each other round and round, largest first."""
    late_cycles: tuple[tuple[str, ...], ...]
    """The same when imports inside functions count too: the circles that a late import breaks."""
    outside: tuple[tuple[str, int], ...]
    """What is imported and has no source here, such as modules written in C, with the number of files."""


@task
def weigh(packages: list[Package]) -> ImportGraph:
    """Build the graph of the packages' imports and work out layers, ranks and cycles."""
    names = tuple(sorted(package.name for package in packages))
    edges = sorted((p.name, imported, count) for p in packages for imported, count in p.imports)
    late = [(p.name, imported) for p in packages for imported, _ in p.deferred]
    graph = _graph(names, ((importer, imported) for importer, imported, _ in edges))
    depth, rank = layers(graph), ranks(graph)
    dependents = Counter(imported for _, imported, _ in edges)
    outside: Counter[str] = Counter()
    for package in packages:
        outside.update(dict(package.outside))
    return ImportGraph(
        names=names,
        edges=tuple(edges),
        layers=tuple(depth[name] for name in names),
        dependents=tuple(dependents[name] for name in names),
        ranks=tuple(rank[name] for name in names),
        cycles=_circles(graph),
        late_cycles=_circles(_graph(names, [*((a, b) for a, b, _ in edges), *late])),
        outside=tuple(sorted(outside.items(), key=lambda item: (-item[1], item[0]))),
    )


def components(graph: Nodes) -> list[tuple[str, ...]]:
    """Strongly connected components, imported ones first.

    Kosaraju's way: in the order in which a walk finishes, collect what can be reached against the arrows.
    """
    backwards = reverse(graph)
    seen: set[str] = set()
    found = [_reached(start, backwards, seen) for start in reversed(_finish_order(graph)) if start not in seen]
    return [tuple(sorted(component)) for component in reversed(found)]


def layers(graph: Nodes) -> dict[str, int]:
    """The longest way down from each node; nodes of one cycle share a layer."""
    layer: dict[str, int] = {}
    for component in components(graph):
        below = {imported for name in component for imported in graph[name]} - set(component)
        height = max((layer[name] + 1 for name in below), default=0)
        layer.update(dict.fromkeys(component, height))
    return layer


def ranks(graph: Nodes) -> dict[str, float]:
    """PageRank: where a reader spends the time who follows imports at random and now and then starts anew."""
    if not graph:
        return {}
    size = len(graph)
    importers = {name: sorted(sources) for name, sources in reverse(graph).items()}
    rank = dict.fromkeys(graph, 1 / size)
    for _ in range(ROUNDS):
        idle = sum(rank[name] for name in graph if not graph[name])
        base = (1 - DAMPING + DAMPING * idle) / size
        share = {name: rank[name] / max(1, len(graph[name])) for name in graph}
        rank = {name: base + DAMPING * sum(share[i] for i in importers[name]) for name in graph}
    return {name: round(value, 6) for name, value in rank.items()}


def reverse(graph: Nodes) -> dict[str, set[str]]:
    """The same nodes with every arrow turned round."""
    turned: dict[str, set[str]] = {name: set() for name in graph}
    for name, imported in graph.items():
        for other in imported:
            turned[other].add(name)
    return turned


def _graph(names: Iterable[str], edges: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {name: set() for name in names}
    for importer, imported in edges:
        graph[importer].add(imported)
    return graph


def _circles(graph: Nodes) -> tuple[tuple[str, ...], ...]:
    circles = (component for component in components(graph) if len(component) > 1)
    return tuple(sorted(circles, key=lambda names: (-len(names), names)))


def _finish_order(graph: Nodes) -> list[str]:
    """Nodes in the order in which a depth-first walk leaves them for good."""
    order: list[str] = []
    seen: set[str] = set()
    for start in sorted(graph):
        path = [] if start in seen else [(start, iter(sorted(graph[start])))]
        seen.add(start)
        while path:
            name, imported = path[-1]
            fresh = next((other for other in imported if other not in seen), None)
            if fresh is None:
                order.append(name)
                path.pop()
            else:
                seen.add(fresh)
                path.append((fresh, iter(sorted(graph[fresh]))))
    return order


def _reached(start: str, graph: Nodes, seen: set[str]) -> list[str]:
    """Every node that can be reached from ``start`` without those in ``seen``; they are added to it."""
    found, waiting = [], [start]
    seen.add(start)
    while waiting:
        name = waiting.pop()
        found.append(name)
        fresh = graph[name] - seen
        seen |= fresh
        waiting.extend(fresh)
    return found
