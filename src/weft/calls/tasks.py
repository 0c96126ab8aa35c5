"""The `@task` decorator."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from weft.calls.facts import call_name
from weft.calls.metafunc import MinimalMetaFunc
from weft.errors import ArgumentError, ChoiceError

if TYPE_CHECKING:
    from datetime import timedelta

    from weft.resources import Cause, Retry

__all__ = ["Task", "refuse_method", "task"]

P = ParamSpec("P")
R = TypeVar("R")

OPTIONS = ("mock", "name")  # beside the resources


class Task(MinimalMetaFunc, Generic[P, R]):
    """A function with what a runner needs to know about it. Called plainly, it is the function. Made by `task`."""

    __name__: str
    __qualname__: str

    def __init__(
        self,
        function: Callable[P, R],
        mock: Any = None,
        name: str | None = None,
        resources: dict[str, Any] | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        super().__init__(function, mock)
        self._name = name
        self._resources = resources or {}

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)  # type: ignore[no-any-return]

    def describe(self, /, *args: Any, **kwargs: Any) -> str:
        return self._name or call_name(self.function)

    def get_resources(self, /, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return dict(self._resources)

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self._can_be_imported():
            return self.__qualname__
        from weft.payload import by_value

        return by_value(Task, (self.function, self.mock, self._name, self._resources))

    def __fixed_parts__(self) -> tuple[Any, ...]:
        return () if self._can_be_imported() else (self.function, self.mock, self._name)

    def _can_be_imported(self) -> bool:
        # The main script is not a module that another process could import by that name.
        if self.__module__ in (None, "__main__", "__mp_main__"):
            return False
        found: Any = sys.modules.get(self.__module__)
        for part in self.__qualname__.split("."):
            found = getattr(found, part, None)
        return found is self

    def __deepcopy__(self, memo: Any) -> Task[P, R]:
        return self

    def __repr__(self) -> str:
        return f"<task {self.describe()}>"


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    mock: Any = None,
    name: str | None = None,
    cpus: int | str | None = None,
    gpus: int | str | None = None,
    memory: int | str | None = None,
    time: float | str | timedelta | None = None,
    retries: int | Mapping[Cause, int | Retry] | None = None,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(function: Any = None, /, *more: Any, mock: Any = None, name: str | None = None, **resources: Any) -> Any:
    """Tell runners about a function: ``@task``, or ``@task(mock=..., cpus=..., ...)``.

    The function still works when it is called plainly.

    Args:
        mock: example data in the shape of the result, or a function of the call's arguments that returns such. A
            runner gives a future for each leaf of it. Default: the return annotation says what comes.
        name: for events and messages; default: the function's name.
        cpus, gpus: whole numbers.
        memory: bytes, or text such as ``"8GB"``, which is 8 times 1024 MB; ``ram`` means the same.
        time: the limit in seconds, or text such as ``"1h30m"`` or ``"1:30:00"``; ``timelimit`` means the same.
        retries: up to so many further tries after any failure, or numbers and `Retry` by cause:
            ``{"died": 2, "memory": Retry(2, memory=1.5), "timeout": Retry(1, time=2)}``.

    Resources reach an executor that knows about them, memory in bytes and time in seconds; others run the call as it
    is.

    Raises:
        ArgumentError: (a TypeError) an unknown option; something that is no plain function; a mock that is a type.
        ChoiceError: (a ValueError) an option with a value that it cannot have.
    """
    if more or (function is not None and not callable(function)):
        shown = ", ".join(repr(item) for item in (function, *more) if item is not None)
        raise ArgumentError(
            f"@task takes its options by name, got {shown:.60}; write @task(name=...); options: {_options()}"
        )
    needs = _needs(resources) if resources else {}
    if name is not None and (not isinstance(name, str) or not name):
        raise ChoiceError(f"@task(name=...) must be some text, got {name!r:.60}")

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        refuse_method("@task", function)
        return Task(function, mock, name, needs)

    return decorate if function is None else decorate(function)


def _needs(resources: dict[str, Any]) -> dict[str, Any]:
    from weft.resources import Resources

    return Resources.read("@task", *OPTIONS, **resources).words()


def _options() -> str:
    from weft.resources import Resources

    return ", ".join(Resources.options(*OPTIONS))


def refuse_method(decorator: str, function: Any) -> None:
    """Raise ArgumentError for what is defined as a part of a class, saying what to write."""
    if isinstance(function, (staticmethod, classmethod, property)):
        name = call_name(function)
        raise ArgumentError(f"write @{type(function).__name__} above {decorator}, not below it, for {name}")
    code = getattr(function, "__code__", None)
    outer, dot, _ = getattr(function, "__qualname__", "").rpartition(".")
    if not dot:
        return
    if isinstance(function, MethodType):  # it has its object
        return
    in_class = not outer.endswith("<locals>")
    if in_class and code is not None and code.co_varnames[:1] in (("self",), ("cls",)):
        kind, name = outer.rpartition(".")[2], call_name(function)
        raise ArgumentError(
            f"{decorator} is for functions, and {kind}.{name} is a method; write a function that takes the object: "
            f"{decorator} def {name}({kind.lower()}: {kind}, ...)"
        )
