"""Random graphs with failures, cancels, conditions, gates and several submitters, against a simple oracle.

What must hold whatever happens: every future ends; each task is submitted at most once and never before what it
waits for; no gate is ever exceeded. Where nothing is cancelled, the oracle says in addition how each task ends.
"""

from __future__ import annotations

import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hand import PATIENCE, done
from weft.errors import DependencyNeverSatisfied
from weft.futures import Limit, Locks, Scheduler, State, Waves

CONDITIONS = ["value", "value", "success", "failure", "any"]


class Boom(Exception):
    """What a failing task raises."""


@dataclass
class Node:
    parents: dict[int, str]
    wait_for_any: bool
    fails: bool
    lock: str | None
    wave: int = 0


@dataclass
class Plan:
    nodes: list[Node]
    cancels: set[int] = field(default_factory=set)
    limit: int = 4


@st.composite
def plans(draw, cancels=True):
    nodes: list[Node] = []
    for index in range(draw(st.integers(1, 25))):
        parents = draw(st.lists(st.integers(0, index - 1), max_size=4, unique=True)) if index else []
        nodes.append(
            Node(
                parents={parent: draw(st.sampled_from(CONDITIONS)) for parent in parents},
                wait_for_any=draw(st.booleans()) and draw(st.booleans()),
                fails=draw(st.integers(0, 4)) == 0,
                lock=draw(st.sampled_from([None, None, "a", "b"])),
                wave=max([draw(st.integers(0, 2)), *(nodes[p].wave for p in parents)]),
            )
        )
    chosen = draw(st.sets(st.integers(0, len(nodes) - 1), max_size=4)) if cancels else set()
    return Plan(nodes, chosen, draw(st.integers(1, 4)))


def oracle(plan: Plan) -> list[State | None]:
    """How each task of a plan without cancels ends; None where that depends on timing."""
    ends: list[State | None] = []
    failed: list[bool | None] = []  # ended with an error that is not DependencyNeverSatisfied; None: who knows
    for node in plan.nodes:
        met = [_met(condition, ends[parent], failed[parent]) for parent, condition in node.parents.items()]
        may_run = _any(met) if node.wait_for_any and met else _all(met)
        if may_run is None:
            ends.append(None)
            failed.append(None)
        elif may_run:
            ends.append(State.FAILED if node.fails else State.SUCCEEDED)
            failed.append(node.fails)
        else:
            ends.append(State.UNREACHABLE)
            # A value edge passes its parent's error on; the others make a DependencyNeverSatisfied of their own.
            # Which of several broken edges is seen first depends on timing.
            broken = zip(node.parents.items(), met, strict=True)
            kinds = {failed[parent] if condition == "value" else False for (parent, condition), ok in broken if not ok}
            failed.append(kinds.pop() if len(kinds) == 1 else None)
    return ends


def _met(condition: str, end: State | None, failed: bool | None) -> bool | None:
    if condition == "any":
        return True
    if end is None or (condition == "failure" and failed is None):
        return None
    return bool(failed) if condition == "failure" else end is State.SUCCEEDED


def _all(met: list[bool | None]) -> bool | None:
    return False if False in met else None if None in met else True


def _any(met: list[bool | None]) -> bool | None:
    return True if True in met else None if None in met else False


class World:
    """Work that checks, as it runs, what must hold."""

    def __init__(self, plan: Plan, pool: ThreadPoolExecutor) -> None:
        self.plan = plan
        self.pool = pool
        self.lock = threading.Lock()
        self.submitted: list[int] = []
        self.finished: set[int] = set()
        self.active = 0
        self.held: dict[str, int] = {}
        self.faults: list[str] = []
        self.tasks: dict[int, Future] = {}

    def submit(self, index: int) -> Future:
        self.submitted.append(index)
        node = self.plan.nodes[index]
        parents = [self.tasks[parent] for parent in node.parents]
        over = [parent.done() for parent in parents]
        if over and not (any(over) if node.wait_for_any else all(over)):
            self.faults.append(f"{index} was submitted before its dependencies were done")
        with self.lock:
            self.active += 1
            if self.active > self.plan.limit:
                self.faults.append(f"limit exceeded by {index}")
            if node.lock:
                self.held[node.lock] = self.held.get(node.lock, 0) + 1
                if self.held[node.lock] > 1:
                    self.faults.append(f"lock {node.lock} held twice, by {index}")
        future = self.pool.submit(self.work, index)
        future.add_done_callback(lambda f: self.give_back(node) if f.cancelled() else None)
        return future

    def work(self, index: int) -> int:
        node = self.plan.nodes[index]
        try:
            if node.fails:
                raise Boom(index)
            return index
        finally:
            self.give_back(node)

    def give_back(self, node: Node) -> None:
        with self.lock:
            self.active -= 1
            if node.lock:
                self.held[node.lock] -= 1


def weave(plan: Plan, submitters: int) -> tuple[World, list[Future]]:
    locks, limit, waves = Locks(), Limit(plan.limit), Waves()
    root = Future()
    with ThreadPoolExecutor(2) as pool:
        world = World(plan, pool)
        with Scheduler(world.submit, gates=[waves, locks, limit]) as scheduler:
            gate = threading.Barrier(submitters)
            tickets = [threading.Event() for _ in plan.nodes]

            def submit_share(share: int) -> None:
                gate.wait(PATIENCE)
                for index in range(share, len(plan.nodes), submitters):
                    node = plan.nodes[index]
                    for parent in node.parents:
                        assert tickets[parent].wait(PATIENCE)
                    demands = {waves: node.wave, **({locks: node.lock} if node.lock else {})}
                    edges = {world.tasks[parent]: condition for parent, condition in node.parents.items()}
                    world.tasks[index] = scheduler.submit(
                        [index],
                        dependencies=edges or {root: "any"},
                        wait_for="any" if node.wait_for_any else "all",
                        gates=demands,
                    )
                    tickets[index].set()

            threads = [threading.Thread(target=submit_share, args=(share,)) for share in range(submitters)]
            for thread in threads:
                thread.start()
            root.set_result(None)
            for index in plan.cancels:
                if tickets[index].wait(PATIENCE):
                    world.tasks[index].cancel()
            for thread in threads:
                thread.join(PATIENCE)
            tasks = [world.tasks[index] for index in range(len(plan.nodes))]
            assert wait(tasks, PATIENCE).not_done == set(), "a future never ended"
    return world, tasks


@settings(max_examples=150)
@given(plans(), st.integers(1, 3))
def test_every_future_ends_and_nothing_is_exceeded(plan, submitters):
    world, tasks = weave(plan, submitters)
    assert world.faults == []
    assert len(world.submitted) == len(set(world.submitted)), "a task was submitted twice"
    for index, task in enumerate(tasks):
        assert task.state.is_end
        if task.state in (State.SUCCEEDED, State.FAILED):
            assert index in world.submitted
        if task.state is State.UNREACHABLE:
            assert index not in world.submitted
        if task.cancelled():
            assert index in plan.cancels
    assert world.active == 0


@settings(max_examples=150)
@given(plans(cancels=False), st.integers(1, 3))
def test_without_cancels_each_task_ends_as_the_oracle_says(plan, submitters):
    _world, tasks = weave(plan, submitters)
    expected = oracle(plan)
    assert [task.state for task, end in zip(tasks, expected, strict=True) if end] == [end for end in expected if end]
    for index, task in enumerate(tasks):
        if task.state is State.SUCCEEDED:
            assert task.result() == index
        elif task.state is State.FAILED:
            assert isinstance(task.exception(), Boom)
        else:
            assert isinstance(task.exception(), (Boom, DependencyNeverSatisfied))


@pytest.mark.slow
def test_a_large_random_graph_with_every_kind_of_trouble():
    dice = random.Random(5)
    nodes: list[Node] = []
    for index in range(3_000):
        parents = (
            sorted({dice.randrange(max(0, index - 200), index) for _ in range(dice.randrange(4))}) if index else []
        )
        nodes.append(
            Node(
                parents={parent: dice.choice(CONDITIONS) for parent in parents},
                wait_for_any=dice.random() < 0.2,
                fails=dice.random() < 0.05,
                lock=dice.choice([None, None, None, "a", "b", "c"]),
                wave=max([0, *(nodes[p].wave for p in parents)]),
            )
        )
    plan = Plan(nodes, {dice.randrange(3_000) for _ in range(60)}, limit=2)
    world, tasks = weave(plan, submitters=1)
    assert world.faults == []
    assert len(world.submitted) == len(set(world.submitted))
    assert all(task.done() for task in tasks)


def test_the_oracle_knows_both_sides():
    chain = [
        Node({}, False, True, None),
        Node({0: "success"}, False, False, None),
        Node({0: "failure"}, False, False, None),
    ]
    assert oracle(Plan(chain)) == [State.FAILED, State.UNREACHABLE, State.SUCCEEDED]
    assert done(1).result() == 1
