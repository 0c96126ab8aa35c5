"""Taking up what a process that is gone had submitted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from weft.executors.cluster.future import ClusterFuture
from weft.executors.cluster.group import Group
from weft.executors.functions import Common
from weft.executors.worker import FUNCTION, SETTING

if TYPE_CHECKING:
    from weft.executors.cluster.book import Book
    from weft.executors.cluster.controller import Controller
    from weft.executors.cluster.folder import Folder, Plan

__all__ = ["adopt"]


def adopt(
    folder: Folder, book: Book, controller: Controller, element: Callable[[str, Sequence[int], int], str]
) -> dict[str, ClusterFuture[Any]]:
    """Futures for all calls in a folder, by key, in the order of submission. Raises StorageError."""
    futures: dict[int, ClusterFuture[Any]] = {}
    numbers = itertools.count(1)
    plans = [(where, where.read()) for where in folder.groups()]
    with book.lock:
        for where, plan in plans:
            commons = _commons(plan, numbers)
            tasks = []
            for call in plan.calls:
                task = futures.get(call.number)
                if task is None:
                    function, setting = commons[call.function], commons[call.setting]
                    task = ClusterFuture(book, call.number, function, setting, call.packed, plan.terms)
                    futures[call.number] = task
                else:
                    book.superseded(task)
                tasks.append(task)
            group = Group(where, plan.name, tasks, plan.terms, plan.each, element)
            job = where.job()
            book.adopted(group, job)
            if job is None:
                controller.take_up(group)
    return {task.key: task for _, task in sorted(futures.items())}


def _commons(plan: Plan, numbers: Iterator[int]) -> list[Common]:
    made = []
    for packed, name in zip(plan.shared, plan.names, strict=True):
        common = Common(next(numbers), FUNCTION if name else SETTING, packed, [])
        common.name = name
        made.append(common)
    return made
