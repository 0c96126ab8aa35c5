"""What all runners have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn, Self

from weft.calls.closure import Closure
from weft.calls.metafunc import as_metafunc
from weft.errors import ArgumentError, ClosedError

__all__ = ["Runner"]


class Runner(ABC):
    """Calls functions somewhere. A subclass says where, in `run`.

    As a context manager it shuts down on the way out.
    """

    _closed = False

    def __call__(self, call: Closure | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Make a call: ``runner(closure)``, or ``runner(function, *args, **kwargs)``.

        The function is a `@task` or any that has annotations. Arguments may be, or contain, results of other calls.

        Raises:
            ArgumentError: (a TypeError) arguments that the function does not take, or of the wrong type.
            UnknownValueError: (a RuntimeError) a mock that needs what is not known yet.
            ClosedError: (a RuntimeError) after `shutdown()`.
        """
        if self._closed:
            raise ClosedError(f"cannot call: this {type(self).__name__} has been shut down; make another one")
        if not isinstance(call, Closure):
            return self.run(Closure(as_metafunc(call), args, kwargs))
        if args or kwargs:
            raise ArgumentError("a Closure has its arguments already; write runner(closure), or runner(function, ...)")
        return self.run(call)

    @abstractmethod
    def run(self, closure: Closure) -> Any:
        """Make the call, or see to it that it is made, and return what its caller gets."""

    def shutdown(self) -> None:
        """Accept no more calls. May be called again."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exception is None:
            self.shutdown()
        else:
            self.abandon(exception)

    def abandon(self, exception: BaseException) -> None:
        """Shut down on the way out with an exception, which nothing may take the place of."""
        self.shutdown()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot travel to another process; a function that runs there must not use it, "
            "not even through a name that has been wrapped"
        )
