"""Dependencies and the conditions on them: what a task waits for, and what an ended dependency means for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any, Literal, TypeAlias, get_args

from weft.engine.light import outcome
from weft.errors import ArgumentError, ChoiceError, DependencyNeverSatisfied

__all__ = ["Condition", "WaitFor", "choose", "futures_in", "verdict"]

#: What an edge asks of its dependency:
#:
#: * ``"value"`` (default): its outcome. Failed: the task fails with the same exception object, without having run.
#:   Cancelled: it counts as done, and who asks it for its result is told.
#: * ``"success"``: that it succeeded. Otherwise the task is UNREACHABLE with `DependencyNeverSatisfied`.
#: * ``"failure"``: that it failed, with an error of its own or one passed on to it. A success, a cancel and a task
#:   that was never reached are no failures.
#: * ``"any"``: that it is over, in whichever way.
Condition: TypeAlias = Literal["value", "success", "failure", "any"]

#: Whether a task waits for all of its dependencies (default) or for the first that meets its condition.
WaitFor: TypeAlias = Literal["all", "any"]

CONDITIONS: tuple[str, ...] = get_args(Condition)
WAIT_FOR: tuple[str, ...] = get_args(WaitFor)


def verdict(condition: str, dependency: Future[Any], dependent: Future[Any]) -> BaseException | None:
    """None where the ended `dependency` meets `condition`, else the exception that `dependent` is to end with."""
    if condition == "any":
        return None
    try:
        exception = outcome(dependency)[1]
        cancelled = False
    except CancelledError:
        exception, cancelled = None, True
    if condition == "value":
        return exception
    failed = exception is not None and not isinstance(exception, DependencyNeverSatisfied)
    if condition == "failure":
        met = failed
    else:
        met = exception is None and not cancelled
    if met:
        return None
    happened = "was cancelled" if cancelled else "succeeded"
    if exception is not None:
        happened = "failed" if failed else "was never reached"
    never = DependencyNeverSatisfied(
        f"{describe(dependent)} needs the {condition} of {describe(dependency)}, which {happened}"
    )
    # The root cause and not the whole way to it: that may be 100,000 tasks long.
    never.__cause__ = exception if failed or exception is None else exception.__cause__ or exception
    return never


def describe(future: Future[Any]) -> str:
    """A future's name where it has one."""
    name = getattr(future, "name", None)
    return repr(name) if isinstance(name, str) else f"a {type(future).__name__}"


def futures_in(dependencies: Iterable[Future[Any]], where: str = "dependencies") -> tuple[Future[Any], ...]:
    """`dependencies` as a tuple, in order and with duplicates; `ArgumentError` where one is no future."""
    if isinstance(dependencies, Future):
        raise ArgumentError(f"{where} must be a list of futures, got one future: write [future]")
    try:
        futures = tuple(dependencies)
    except TypeError:
        raise ArgumentError(f"{where} must be a list of futures, got {short(dependencies)}") from None
    for future in futures:
        if not isinstance(future, Future):
            raise ArgumentError(
                f"{where}[{futures.index(future)}] must be a concurrent.futures.Future, got {short(future)}; "
                "pass what executor.submit(...) or scheduler.submit(...) returned"
            )
    return futures


def choose(value: object, choices: Iterable[str], where: str) -> str:
    """`value` where it is one of `choices`, else a `ChoiceError` that lists them, nearest first."""
    known = tuple(choices)
    if value in known and isinstance(value, str):
        return value
    near = difflib.get_close_matches(str(value), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ChoiceError(f"{where} must be one of {', '.join(map(repr, known))}, got {value!r}{hint}")


def conditions_of(
    dependencies: Iterable[Future[Any]] | Mapping[Future[Any], str], condition: str
) -> str | dict[Future[Any], str]:
    """One condition for all edges, or one for each where `dependencies` is a mapping; checked."""
    if condition != "value":
        choose(condition, CONDITIONS, "condition")
    # Before the slow look at an abstract class come the usual ones.
    if type(dependencies) in (list, tuple) or not isinstance(dependencies, (dict, Mapping)):
        return condition
    for future, each in dependencies.items():
        if each not in CONDITIONS:
            choose(each, CONDITIONS, f"the condition of dependency {describe(future)}")
    return dict(dependencies)


def short(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
