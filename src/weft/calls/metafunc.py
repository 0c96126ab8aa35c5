"""Functions that know about themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from weft.calls.facts import Facts, call_name, facts_of
from weft.calls.mocks import api_from_mock
from weft.calls.unknown import Unknown
from weft.errors import ArgumentError, UnknownValueError

if TYPE_CHECKING:
    from inspect import Signature

__all__ = ["MetaFuncBase", "MinimalMetaFunc", "as_metafunc"]


class MetaFuncBase:
    """A callable that knows about itself. All of its methods take the arguments of the call that is asked about.

    A subclass defines `__call__`, with annotations, and overrides what it knows better::

        class Simulate(MetaFuncBase):
            def __call__(self, seed: int) -> float: ...
            def describe(self, seed): return f"simulate {seed}"
            def get_resources(self, seed): return {"cpus": 4}

    Arguments may be futures where a runner asks before they are done; `get_result_mock` and `get_result_api` then get
    something in their place that raises UnknownValueError when it is used.
    """

    _facts: Facts | None = None

    def describe(self, /, *args: Any, **kwargs: Any) -> str:
        """What the call is named in events and messages. Default: the name of the class."""
        return type(self).__name__

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Do the work."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    def get_signature(self, /, *args: Any, **kwargs: Any) -> Signature:
        """The signature that arguments are bound to. Default: that of `__call__`."""
        return self._read().signature

    def get_parameters_api(self, /, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The type of each parameter by its name; a type may be anything of `typing`, or a tree of such.

        Default: the annotations, else the types of the defaults. Raises ArgumentError naming a parameter without
        either.
        """
        return self._read().parameters()

    def get_result_mock(self, /, *args: Any, **kwargs: Any) -> Any:
        """Example data in the shape of the result, new at each call. Default: made up from the return annotation.

        Raises UnknownValueError where nothing can be made up. Without an annotation it is something that raises this
        once it is used.
        """
        annotation = self._read().result()
        name = self.describe(*args, **kwargs)
        if annotation is Any:
            why = (
                f"the result of {name} is not known in a dry run; write its type, as in '-> float', or give an "
                "example: @task(mock=...)"
            )
            return Unknown(f"the result of {name}", why)
        from weft.calls.standins import stand_in

        try:
            return stand_in(annotation)
        except UnknownValueError as error:
            raise UnknownValueError(f"{name}: {error}") from None

    def get_result_api(self, /, *args: Any, **kwargs: Any) -> Any:
        """The type of the result, or a tree (lists and dicts) of types.

        Default: that of the mock where a subclass defines one, else the return annotation, else Any.
        """
        if type(self).get_result_mock is MetaFuncBase.get_result_mock:
            return self._read().result()
        return api_from_mock(self.get_result_mock(*args, **kwargs), self.describe(*args, **kwargs))

    def get_resources(self, /, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What the call needs, such as ``{"cpus": 4, "memory": "8GB"}``. Default: nothing in particular."""
        return {}

    def _subject(self) -> Callable[..., Any]:
        """The function whose signature and annotations count."""
        return self.__call__

    def _read(self) -> Facts:
        if self._facts is None:
            self._facts = facts_of(self._subject())
        return self._facts

    def __getstate__(self) -> Any:
        state = object.__getstate__(self)
        # Read again where it arrives: signatures are slow to pickle, and annotations may not pickle at all.
        return {k: v for k, v in state.items() if k != "_facts"} if isinstance(state, dict) else state


class MinimalMetaFunc(MetaFuncBase):
    """A plain function as a MetaFunc.

    Args:
        function: what is called; its name describes the call.
        mock: example data in the shape of the result, or a function of the call's arguments that returns such.
            Default: the return annotation says what comes.

    Raises ArgumentError (a TypeError) for what is no function, and for a type in place of example data.
    """

    def __init__(self, function: Callable[..., Any], mock: Any = None) -> None:
        _refuse_strange(function)
        self.function = function
        self.mock = mock
        self._mock_api = None if mock is None or _is_function(mock) else api_from_mock(mock, call_name(function))

    def describe(self, /, *args: Any, **kwargs: Any) -> str:
        return call_name(self.function)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def get_result_mock(self, /, *args: Any, **kwargs: Any) -> Any:
        if self.mock is None:
            return super().get_result_mock(*args, **kwargs)
        from weft.calls.snapshot import Snapshot

        return Snapshot()(self.mock(*args, **kwargs) if _is_function(self.mock) else self.mock)

    def get_result_api(self, /, *args: Any, **kwargs: Any) -> Any:
        if self.mock is None:
            return self._read().result()
        if self._mock_api is not None:
            return self._mock_api
        return api_from_mock(self.mock(*args, **kwargs), self.describe(*args, **kwargs))

    def _subject(self) -> Callable[..., Any]:
        return self.function

    def __fixed_parts__(self) -> tuple[Any, ...]:
        # For `weft.executors`: as long as these are the same objects, it need not be packed again.
        return self.function, self.mock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.describe()}>"


def as_metafunc(function: Any) -> MetaFuncBase:
    """`function` itself if it is a MetaFunc, else the plain function as one.

    Raises ArgumentError for anything else, saying what to write.
    """
    return function if isinstance(function, MetaFuncBase) else MinimalMetaFunc(function)


def _is_function(mock: Any) -> bool:
    # Types can be called, too; but a type is what a mock must not be.
    return callable(mock) and not isinstance(mock, type) and not hasattr(mock, "__origin__")


def _refuse_strange(function: Any) -> None:
    if isinstance(function, type):
        hint = f"give an instance: {function.__name__}(...)" if issubclass(function, MetaFuncBase) else ""
        raise ArgumentError(f"a function is needed, got the class {function.__name__}; {hint or 'write a function'}")
    if not callable(function):
        raise ArgumentError(
            f"a function is needed, got {function!r:.60}; name the function without calling it, as in run(f, 3) "
            "or Closure(f, [3])"
        )
    code = getattr(function, "__code__", None)
    if code is not None and code.co_flags & 0x280:  # CO_COROUTINE or CO_ASYNC_GENERATOR
        raise ArgumentError(
            f"{call_name(function)} is an async function; write a plain one, which may call asyncio.run(...) inside"
        )
