"""Which procs can still end, as things are; and the way round by which one waits for itself.

A proc that runs, and waits for nobody, will end. One that waits will end when all that it waits for will: dependencies,
procs that it waits for by `wait`, lower waves, and for a lock one of those that hold it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

from weft.procs.proc import Proc

__all__ = ["way_round", "will_end"]

# A proc; "wave 3", that all procs of it and of lower ones have ended; "lock x", that one of its holders has.
Node: TypeAlias = Proc | tuple[str, int | str]


class _Needs:
    """Who waits for whom, among the procs that have not ended."""

    def __init__(
        self, procs: Collection[Proc], capacity: Callable[[str], float], may_come: Callable[[Proc], bool]
    ) -> None:
        self.needs: dict[Node, list[Node]] = {}
        self.never: set[Proc] = set()  # they wait for what will not come by itself
        self.any_of: set[Node] = set()  # one of what these need is enough
        holders: dict[str, list[Proc]] = {}
        used: dict[str, int] = {}
        for proc in procs:
            if proc._launched:
                for lock, count in proc._holds.items():
                    holders.setdefault(lock, []).append(proc)
                    used[lock] = used.get(lock, 0) + count
        waves = self._waves(procs)
        for proc in procs:
            if proc._launched:
                self.needs[proc] = [other for other in proc._waits_for if not other._state.is_end]
                continue
            if not may_come(proc):
                self.never.add(proc)
            needs: list[Node] = [dep for dep in proc._deps.values() if dep is not None and not dep._state.is_end]
            if (lower := waves.get(proc._declaration.wave)) is not None:
                needs.append(lower)
            for lock, count in proc._holds.items():
                if used.get(lock, 0) + count > capacity(lock):
                    node = ("lock", lock)
                    self.any_of.add(node)
                    self.needs[node] = list(holders.get(lock, ()))
                    needs.append(node)
            self.needs[proc] = needs

    def _waves(self, procs: Collection[Proc]) -> dict[int, Node | None]:
        """What stands for the end of all lower waves, for each wave."""
        members: dict[int, list[Proc]] = {}
        for proc in procs:
            members.setdefault(proc._declaration.wave, []).append(proc)
        lower: Node | None = None
        found: dict[int, Node | None] = {}
        for wave in sorted(members):
            found[wave] = lower
            node: Node = ("wave", wave)
            self.needs[node] = [*members[wave], *([lower] if lower is not None else [])]
            lower = node
        return found


def will_end(procs: Collection[Proc], capacity: Callable[[str], float], may_come: Callable[[Proc], bool]) -> set[Proc]:
    """Those that will end by themselves.

    Args:
        procs: all that have not ended.
        capacity: how many may hold a lock.
        may_come: whether what a proc waits for beside other procs, such as one that is not defined yet, comes.
    """
    graph = _Needs(procs, capacity, may_come)
    left = {node: 1 if node in graph.any_of else len(needs) for node, needs in graph.needs.items()}
    needed_by: dict[Node, list[Node]] = {}
    for node, needs in graph.needs.items():
        for need in needs:
            needed_by.setdefault(need, []).append(node)
    todo = deque(node for node, count in left.items() if not count and node not in graph.never)
    done: set[Node] = set()
    while todo:
        node = todo.popleft()
        if node in done:
            continue
        done.add(node)
        for waiting in needed_by.get(node, ()):
            left[waiting] -= 1
            if left[waiting] <= 0 and waiting not in graph.never:
                todo.append(waiting)
    return {node for node in done if isinstance(node, Proc)}


def way_round(proc: Proc, procs: Collection[Proc], capacity: Callable[[str], float]) -> str:
    """The way by which `proc` waits for itself, as ``a waits for b waits for a``; empty where there is none."""
    graph = _Needs(procs, capacity, lambda _: True)
    came_from: dict[Node, Node] = {}
    todo: deque[Node] = deque([proc])
    while todo:
        node = todo.popleft()
        for need in graph.needs.get(node, ()):
            if need == proc:
                return _told([*_back(node, came_from), proc])
            if need not in came_from:
                came_from[need] = node
                todo.append(need)
    return ""


def _back(node: Node, came_from: dict[Node, Node]) -> list[Node]:
    way = [node]
    while (before := came_from.get(way[0])) is not None:
        way.insert(0, before)
    return way


def _told(way: Iterable[Node]) -> str:
    return " waits for ".join(
        repr(node.name)
        if isinstance(node, Proc)
        else f"the {node[0]} {node[1]!r}, held by"
        if node[0] == "lock"
        else f"the end of {node[0]} {node[1]}"
        for node in way
    ).replace("held by waits for", "which is held by")
