"""The `@task` decorator."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from weft.calls.facts import call_name
from weft.calls.metafunc import MinimalMetaFunc
from weft.errors import ArgumentError, ChoiceError

__all__ = ["Task", "task"]

P = ParamSpec("P")
R = TypeVar("R")

OPTIONS = ("cpus", "gpus", "memory", "mock", "name", "time")


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
        from weft.calls.packing import by_value

        return by_value(Task, (self.function, self.mock, self._name, self._resources))

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
    cpus: int | None = None,
    gpus: int | None = None,
    memory: int | str | None = None,
    time: float | str | None = None,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(function: Any = None, /, *more: Any, mock: Any = None, name: str | None = None, **resources: Any) -> Any:
    """Tell runners about a function: ``@task``, or ``@task(mock=..., cpus=..., ...)``.

    The function still works when it is called plainly.

    Args:
        mock: example data in the shape of the result, or a function of the call's arguments that returns such. A
            runner gives a future for each leaf of it. Default: the return annotation says what comes.
        name: for events and messages; default: the function's name.
        cpus, gpus: whole numbers.
        memory: bytes, or text such as ``"8GB"``.
        time: the limit in seconds, or text such as ``"1h"``.

    Resources reach an executor that knows about them; others run the call as it is.

    Raises:
        ArgumentError: (a TypeError) an unknown option; something that is no plain function; a mock that is a type.
        ChoiceError: (a ValueError) an option with a value that it cannot have.
    """
    if more or (function is not None and not callable(function)):
        shown = ", ".join(repr(item) for item in (function, *more) if item is not None)
        raise ArgumentError(f"@task takes its options by name, got {shown:.60}; write @task(name=...); {_known()}")
    for option, value in resources.items():
        _check_option(option, value)
    if name is not None and (not isinstance(name, str) or not name):
        raise ChoiceError(f"@task(name=...) must be some text, got {name!r:.60}")
    resources = {option: value for option, value in resources.items() if value is not None}

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        _refuse_method(function)
        return Task(function, mock, name, resources)

    return decorate if function is None else decorate(function)


def _known() -> str:
    return f"options: {', '.join(OPTIONS)}"


def _check_option(option: str, value: Any) -> None:
    if value is None and option in OPTIONS:
        return
    if option in ("cpus", "gpus"):
        lowest = 1 if option == "cpus" else 0
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            _refuse(option, f"a whole number from {lowest} up", value)
    elif option == "memory":
        if not _is_amount(value, int):
            _refuse(option, 'a number of bytes, or text such as "8GB"', value)
    elif option == "time":
        if not _is_amount(value, int, float):
            _refuse(option, 'a number of seconds, or text such as "1h"', value)
    else:
        raise ArgumentError(f"@task has no option {option!r}; {_near(option)}{_known()}")


def _is_amount(value: Any, *numbers: type) -> bool:
    if isinstance(value, str):
        return value.strip()[:1].isdigit()
    return type(value) in numbers and value > 0


def _refuse(option: str, wanted: str, value: Any) -> NoReturn:
    raise ChoiceError(f"@task({option}=...) must be {wanted}, got {value!r:.60}")


def _near(option: str) -> str:
    import difflib

    close = difflib.get_close_matches(option, OPTIONS, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}? " if close else ""


def _refuse_method(function: Any) -> None:
    name = call_name(function)
    if isinstance(function, (staticmethod, classmethod, property)):
        raise ArgumentError(f"write @{type(function).__name__} above @task, not below it, for {name}")
    code = getattr(function, "__code__", None)
    outer = getattr(function, "__qualname__", "").rpartition(".")[0]
    in_class = bool(outer) and not outer.endswith("<locals>")
    if in_class and code is not None and code.co_varnames[:1] in (("self",), ("cls",)):
        kind = outer.rpartition(".")[2]
        raise ArgumentError(
            f"@task is for functions, and {kind}.{name} is a method; write a function that takes the object: "
            f"@task def {name}({kind.lower()}: {kind}, ...)"
        )
