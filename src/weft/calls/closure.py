"""A call about to be made: a function that knows about itself, and its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from weft.calls.metafunc import MetaFuncBase, as_metafunc
from weft.calls.snapshot import Snapshot
from weft.calls.unknown import Unknown
from weft.errors import ArgumentError, ResultError, UnknownValueError
from weft.tree import replace_futures

if TYPE_CHECKING:
    from inspect import BoundArguments

__all__ = ["Closure"]


class Closure:
    """A call about to be made, with a snapshot of its arguments: what the caller changes later is not seen.

    Args:
        metafunc: a MetaFunc such as a `@task` function; a plain function will do.
        args: its positional arguments.
        kwargs: its keyword arguments.

    Futures among the arguments, in lists, dicts, tuples, sets and dataclass instances too, stand for their results;
    they are in `futures`.

    Raises ArgumentError (a TypeError) for arguments that the function does not take.
    """

    __slots__ = ("args", "futures", "kwargs", "metafunc")

    metafunc: MetaFuncBase
    args: list[Any]
    kwargs: dict[str, Any]
    futures: list[Future[Any]]  #: Those among the arguments, each once.

    def __init__(
        self,
        metafunc: MetaFuncBase | Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.metafunc = as_metafunc(metafunc)
        if not isinstance(args, (list, tuple)):
            raise ArgumentError(f"args must be a list of arguments, got {args!r:.60}; write Closure(f, [x], ...)")
        if not isinstance(kwargs, (Mapping, type(None))):
            raise ArgumentError(f"kwargs must be a dict of arguments by name, got {kwargs!r:.60}")
        self.args, self.kwargs = list(args), dict(kwargs or {})
        self._bind()  # before anything is copied
        snapshot = Snapshot()
        self.args, self.kwargs = snapshot([self.args, self.kwargs])
        self.futures = snapshot.futures

    @classmethod
    def without_snapshot(cls, metafunc: MetaFuncBase, args: Sequence[Any], kwargs: dict[str, Any]) -> Closure:
        """A call with arguments that nobody else has, such as those that have just been unpacked; without futures."""
        closure = object.__new__(cls)
        closure.metafunc, closure.args, closure.kwargs, closure.futures = metafunc, list(args), kwargs, []
        return closure

    def describe(self) -> str:
        """The name of the call; the function's name alone where the call's depends on what is not known yet."""
        args, kwargs = self._as_known("the name of the call")
        try:
            return self.metafunc.describe(*args, **kwargs)
        except UnknownValueError:
            return getattr(self.metafunc, "__name__", None) or type(self.metafunc).__name__

    def get_parameters(self) -> dict[str, Any]:
        """The arguments by the names of their parameters, defaults applied."""
        bound = self._bind()
        bound.apply_defaults()
        return bound.arguments

    def get_parameter_api(self) -> dict[str, Any]:
        """The type of each parameter, by name. Raises ArgumentError where nothing tells it."""
        return self.metafunc.get_parameters_api(*self.args, **self.kwargs)

    def validate_parameters(self) -> None:
        """Check the arguments; futures among them are passed over. Raises ArgumentError (a TypeError)."""
        apis = self.get_parameter_api()
        for name, value in self.get_parameters().items():
            if name in apis:
                self._check(value, apis[name], f"argument {name!r}")

    def get_result_mock(self) -> Any:
        """Example data in the shape of the result. Raises UnknownValueError if that needs what is not known yet."""
        args, kwargs = self._as_known()
        return self.metafunc.get_result_mock(*args, **kwargs)

    def get_result_api(self) -> Any:
        """The type of the result, or a tree of types. Raises UnknownValueError as `get_result_mock` does."""
        args, kwargs = self._as_known()
        return self.metafunc.get_result_api(*args, **kwargs)

    def get_resources(self) -> dict[str, Any]:
        """What the call needs, such as ``{"cpus": 4}``. It may depend on the results of futures that are done."""
        args, kwargs = self._as_known()
        return self.metafunc.get_resources(*args, **kwargs)

    def resolved(self, *, copy: bool = True) -> Closure:
        """The same call with the results of its futures in their place; waits for them and raises what they raise.

        Args:
            copy: copy the results, as arguments are copied, so that two calls that share one cannot disturb each
                other. Needless where the arguments are about to be pickled.
        """
        if not self.futures:
            return self
        keep: Callable[[Any], Any] = Snapshot() if copy else lambda result: result
        args, kwargs = replace_futures([self.args, self.kwargs], lambda future: keep(future.result()))
        return self.without_snapshot(self.metafunc, args, kwargs)

    def validated_call(self) -> Any:
        """Wait for futures among the arguments, check the arguments, call, check the result, return it.

        Raises ArgumentError or ResultError (both are TypeErrors) where a check fails, and whatever the function raises.
        """
        call = self.resolved()
        call.validate_parameters()
        # Asked now: the function may change its arguments.
        name, api = call.describe(), call.get_result_api()
        result = call.metafunc(*call.args, **call.kwargs)
        try:
            call._check(result, api, f"result of {name}")
        except ArgumentError as error:
            raise ResultError(*error.args) from None
        return result

    def _check(self, value: Any, api: Any, where: str) -> None:
        from weft.calls.checks import check

        try:
            check(value, api, where)
        except ArgumentError as error:
            error.add_note(f"in the call of {self.describe()}")
            raise

    def _bind(self) -> BoundArguments:
        signature = self.metafunc.get_signature(*self.args, **self.kwargs)
        try:
            return signature.bind(*self.args, **self.kwargs)
        except TypeError as error:
            name = getattr(self.metafunc, "__name__", None) or self.metafunc.describe(*self.args, **self.kwargs)
            raise ArgumentError(f"{name}: {error}; it is called as {name}{signature}") from None

    def _as_known(self, what: str = "") -> tuple[Sequence[Any], dict[str, Any]]:
        """The arguments for the mock, or `what`: results where futures have them, else what raises when it is used."""
        if not self.futures:
            return self.args, self.kwargs
        what = what or f"the mock of {self.describe()}"
        bound = self._bind()
        for name, value in bound.arguments.items():
            bound.arguments[name] = replace_futures(value, _KnownOr(what, name))
        return bound.args, bound.kwargs

    def __repr__(self) -> str:
        return f"<Closure {self.describe()}>"


class _KnownOr:
    """The result of a future that has one; for others, a stand-in that knows for what it was needed."""

    def __init__(self, what: str, parameter: str) -> None:
        self.what = what
        self.parameter = parameter

    def __call__(self, future: Future[Any]) -> Any:
        if future.done() and not future.cancelled() and future.exception() is None:
            return future.result()
        why = (
            f"{self.what} needs the value of {self.parameter!r}, which is not known yet; make the shape of "
            f"the mock independent of it, or pass {self.parameter}.result() instead of the future"
        )
        return Unknown(f"the value of {self.parameter!r}", why)
