"""What must hold before a job, and what after it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from weft.payload import call_name

__all__ = ["NO_ELEMENT", "Condition", "When", "check", "counted", "positional", "titled"]

When: TypeAlias = Literal["after", "before"]
Predicate: TypeAlias = Callable[..., object]

WHENS: tuple[str, ...] = get_args(When)
NOT_PLAIN = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR: what they return is always true


class _NoElement:
    """In place of an element, where a job has none."""

    def __reduce__(self) -> str:
        return "NO_ELEMENT"


NO_ELEMENT = _NoElement()


class Condition(NamedTuple):
    """A function that says whether something holds, such as whether a file is there."""

    function: Predicate
    when: When
    per_element: bool  #: Whether it takes an element of the job's array; else it is asked once for the whole job.

    @classmethod
    def read(cls, function: Any, when: Any, *, of: str, is_array: bool) -> Condition:
        """What a user gives to `@ensure`, for the job with the name `of`. Raises what `ensure` does."""
        from weft.engine.edges import choose
        from weft.errors import ArgumentError

        if not callable(function) or isinstance(function, type):
            raise ArgumentError(
                f"@ensure of {of}: a condition is a function, got {function!r:.60}; "
                'write @ensure(lambda: Path("result.txt").exists())'
            )
        choose(when, WHENS, f"@ensure(when=...) of {of}")
        if getattr(getattr(function, "__code__", None), "co_flags", 0) & NOT_PLAIN:
            raise ArgumentError(
                f"@ensure of {of}: {call_name(function)} is an async or generator function, whose result is always "
                "true; write a plain one"
            )
        required, most = positional(function, f"@ensure of {of}")
        if required > 1:
            raise ArgumentError(
                f"@ensure of {of}: {describe(function)} takes {required} arguments; a condition takes none, or one "
                "element of the job's array"
            )
        if required and not is_array:
            raise ArgumentError(
                f"@ensure of {of}: {describe(function)} takes an argument, but {of} has no array to take it from; "
                "write a condition without arguments"
            )
        return cls(function, when, bool(required and most))

    def holds(self, job: str, element: Any = NO_ELEMENT) -> bool:
        """Ask it.

        Raises:
            ConditionError: it raised, naming the job, the element and the condition.
        """
        try:
            return bool(self.function(element) if self.per_element else self.function())
        except (Exception, SystemExit) as error:
            from weft.errors import ConditionError, told

            asked = titled(job, element) if self.per_element else job
            raise ConditionError(f"{self.describe()} of {asked} raised {told(error)}") from error

    def describe(self) -> str:
        """Such as ``the postcondition <lambda> (pi.py:12)``."""
        return f"the {'post' if self.when == 'after' else 'pre'}condition {describe(self.function)}"


def titled(job: str, element: Any) -> str:
    """The name of a job with one of its elements, for messages: ``estimate[3]``."""
    return job if element is NO_ELEMENT else f"{job}[{element!r:.40}]"


def describe(function: Predicate) -> str:
    """The name of a condition; for a lambda, which has none, where it was written."""
    code = getattr(function, "__code__", None)
    if call_name(function) != "<lambda>" or code is None:
        return call_name(function)
    return f"<lambda> ({os.path.basename(code.co_filename)}:{code.co_firstlineno})"


def positional(function: Callable[..., Any], where: str) -> tuple[int, int]:
    """How many arguments a function must be given by position, and how many it takes at most."""
    return counted(function) or _positional(function, where)


def counted(function: Callable[..., Any]) -> tuple[int, int] | None:
    """The same for a function whose code says all about its parameters; None: there is more to it.

    Without `inspect`, which takes ten times as long: there may be 100,000 of them.
    """
    if type(function) is FunctionType and not function.__dict__:
        code = function.__code__
        if not code.co_flags & 0x04 and not code.co_kwonlyargcount:  # CO_VARARGS
            return code.co_argcount - len(function.__defaults__ or ()), code.co_argcount
    return None


def _positional(function: Callable[..., Any], where: str) -> tuple[int, int]:
    import inspect

    from weft.errors import ArgumentError

    try:
        parameters: Sequence[inspect.Parameter] = list(inspect.signature(function).parameters.values())
    except ValueError:
        raise ArgumentError(
            f"{where}: {call_name(function)} does not tell its parameters; write a lambda around it"
        ) from None
    required = most = 0
    for parameter in parameters:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            required += parameter.default is parameter.empty
            most += 1
        elif parameter.kind is parameter.VAR_POSITIONAL:
            most = max(most, 1 << 30)
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise ArgumentError(
                f"{where}: {call_name(function)} needs {parameter.name!r}, which can only be given by its name"
            )
    return required, most


def check(conditions: Iterable[Condition], when: When, job: str, element: Any = NO_ELEMENT) -> None:
    """Ask conditions.

    Args:
        conditions: of which those with this `when` are asked; with an element only those that take one, and without one
            only those that take none.
        when: ``"before"`` or ``"after"``.
        job: its name, for the message.
        element: of the job's array.

    Raises:
        PreconditionFailed, PostconditionFailed: one does not hold, or raised; then what it raised is the cause.
    """
    for condition in conditions:
        if condition.when != when or condition.per_element is (element is NO_ELEMENT):
            continue
        error: BaseException | None = None
        try:
            if condition.holds(job, element):
                continue
            text = f"{condition.describe()} of {titled(job, element)} does not hold"
        except RuntimeError as raised:  # a ConditionError
            error, text = raised.__cause__, str(raised)
        from weft.errors import PostconditionFailed, PreconditionFailed

        failed = PreconditionFailed if when == "before" else PostconditionFailed
        asked_of = None if element is NO_ELEMENT else element
        raise failed(text, job=job, element=asked_of, condition=describe(condition.function)) from error
