"""A map that takes any executor, and can hand out results as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, as_completed
from contextlib import ExitStack
from typing import Any, TypeVar

from weft.errors import ArgumentError

__all__ = ["map"]

A = TypeVar("A")
T = TypeVar("T")


def map(
    executor: Executor | Callable[[], Executor], fn: Callable[[A], T], args: Iterable[A], ordered: bool = True
) -> Iterator[T]:
    """The results of ``fn(arg)`` for each of `args`, lazily: nothing happens before the first is asked for.

    Args:
        executor: where; it stays open. Or a class, or a function without arguments, that makes one for this call:
            ``weft.map(SlurmExecutor, square, range(10))``.
        fn: a function of one argument.
        args: its arguments. All are submitted at once.
        ordered: results come in the order of `args` (default); else as they are there.

    Whoever stops asking early cancels what is not done. An exception of a call is raised where its result would come.

    Raises:
        ArgumentError: (a TypeError) `executor` is neither.
    """
    if not isinstance(executor, Executor) and not callable(executor):
        raise ArgumentError(f"map needs an executor, or a class of executors, got {executor!r:.60}")
    return _results(executor, fn, args, ordered)


def _results(executor: Any, fn: Callable[[A], T], args: Iterable[A], ordered: bool) -> Iterator[T]:
    with ExitStack() as stack:
        if not isinstance(executor, Executor):
            executor = stack.enter_context(executor())
        futures = [executor.submit(fn, arg) for arg in args]
        left = dict.fromkeys(reversed(futures))
        del futures
        try:
            if ordered:
                while left:  # hold nothing that has been handed out
                    future, _ = left.popitem()
                    yield future.result()
                    del future
            else:
                for future in as_completed(left):
                    del left[future]
                    yield future.result()
                    del future
        finally:
            for future in left:
                future.cancel()
