"""What is done where a job runs: conditions, the function, conditions; and then its outcome is written down.

A `JobCall` is what is sent there, once for all elements of an array and for all jobs with the same function; what
differs from job to job comes as the arguments of the call::

    executor.submit(call, name, key, place, mark)                     a job without arguments
    executor.submit(call, name, key, place, mark, element)            an element of an array
    executor.submit(call, name, key, place, mark, element, args, kwargs)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from weft.jobs.conditions import NO_ELEMENT, Condition, When, check
from weft.payload import call_name, pack, unpack

if TYPE_CHECKING:  # the other end, which is started anew for each element on a cluster, imports what it needs
    from weft.errors import ArgumentError
    from weft.jobs.node import Job
    from weft.jobs.site import Workplace
    from weft.resources import Cause, Retries

__all__ = ["AskCall", "JobCall", "call_here"]

_NO_KWARGS: Mapping[str, Any] = {}


class _Sent:
    """A function and conditions that travel as bytes, which are made once: what they refer to may change meanwhile."""

    __slots__ = ("__name__", "__weakref__", "_packed", "conditions", "function")

    def __init__(self, function: Callable[..., Any] | None, conditions: tuple[Condition, ...], name: str) -> None:
        self.function = function
        self.conditions = conditions
        self.__name__ = name
        self._packed: bytes | None = None

    def packed(self) -> bytes:
        """Both as bytes. Raises ArgumentError naming what cannot travel."""
        if self._packed is None:
            try:
                self._packed = pack((self.function, self.conditions))
            except Exception as error:
                raise self._refusal(error) from error
        return self._packed

    def _refusal(self, error: Exception) -> ArgumentError:
        from weft.errors import ArgumentError, told
        from weft.payload import culprit

        named = [(f"the function {self.__name__}", self.function)] if self.function is not None else []
        named += [(condition.describe(), condition.function) for condition in self.conditions]
        what = next((culprit(part, where) for where, part in named if not _packs(part)), told(error))
        return ArgumentError(f"{self.__name__} cannot be sent to another process: {what}; {INSTEAD}")


def _packs(part: Any) -> bool:
    try:
        pack(part)
    except Exception:  # noqa: BLE001 - a __reduce__ of the user's can raise anything
        return False
    return True


INSTEAD = 'make or open it inside the function, or run it in threads: schedule(..., backend="threads")'


class AskCall(_Sent):
    """Asks the conditions that an array has as a whole."""

    __slots__ = ()

    def __call__(self, name: str, when: When) -> None:
        check(self.conditions, when, name)

    def __fixed_parts__(self) -> tuple[Any, ...]:
        return (self.packed(),)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade_ask, (self.packed(), self.__name__)


class JobCall(_Sent):
    """Runs a job, or an element of one.

    Args:
        function, conditions: of the job.
        env: environment variables that are set meanwhile.
        retries: further tries that are made here; None where the executor sees to them.
        site: where what it writes and its outcome are kept; None: nowhere.
    """

    __slots__ = ("env", "retries", "site")

    def __init__(
        self,
        function: Callable[..., Any],
        conditions: tuple[Condition, ...],
        env: tuple[tuple[str, str], ...] = (),
        retries: Retries | None = None,
        site: Workplace | None = None,
    ) -> None:
        super().__init__(function, conditions, call_name(function))
        self.env = env
        self.retries = retries
        self.site = site

    def __call__(
        self,
        name: str,
        key: str,
        place: int | None,
        mark: bytes,
        element: Any = NO_ELEMENT,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = _NO_KWARGS,
    ) -> Any:
        """Make the call.

        Args:
            name, key: of the job.
            place: of the element; None for a job without an array.
            mark: its fingerprint, which is written down with the outcome.
            element: of the array.
            args, kwargs: of the function, after the element.
        """
        if self.site is None:
            return self._tried(name, element, args, kwargs)
        desk = self.site.desk()
        desk.begin(key, place)
        simple = not self.env and self.retries is None
        try:
            result = (self._once if simple else self._tried)(name, element, args, kwargs)
        except BaseException as error:
            desk.failed(error)
            raise
        else:
            return desk.keep(name, key, place, mark, result)
        finally:
            desk.end()

    def alike(self, env: tuple[tuple[str, str], ...], retries: Retries | None) -> JobCall:
        """The same function and conditions, packed only once, with these."""
        call = JobCall(self.function, self.conditions, env, retries)  # type: ignore[arg-type]
        call._packed = self._packed
        return call

    def _tried(self, name: str, element: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        tries: dict[Cause, int] = {}
        while True:
            try:
                if self.env:
                    with _Environment(self.env):
                        return self._once(name, element, args, kwargs)
                return self._once(name, element, args, kwargs)
            except Exception as error:
                if self.retries is None:
                    raise
                from weft.resources import cause_of

                cause = cause_of(error)
                if self.retries.allows(cause, tries) is None:
                    raise
                tries[cause] = tries.get(cause, 0) + 1

    def _once(self, name: str, element: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        function, conditions = self.function, self.conditions
        assert function is not None
        if conditions:
            check(conditions, "before", name, element)
        try:
            result = function(*args, **kwargs) if element is NO_ELEMENT else function(element, *args, **kwargs)
        except SystemExit as error:
            if type(error) is not SystemExit:  # a worker's way of being stopped
                raise
            # As for a script: 0 is a good end.
            if error.code not in (None, 0):
                from weft.errors import TaskExited
                from weft.payload.shorten import shorten

                code = error.code if isinstance(error.code, int | str) else shorten(error.code)
                raise TaskExited(f"{name} called sys.exit({error.code!r:.60})", code=code) from None
            result = None
        if conditions:
            check(conditions, "after", name, element)
        return result

    def __fixed_parts__(self) -> tuple[Any, ...]:
        return (self.packed(), self.env, self.site)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade_call, (self.packed(), self.env, self.retries, self.site)


def _remade_call(
    packed: bytes, env: tuple[tuple[str, str], ...], retries: Retries | None, site: Workplace | None
) -> JobCall:
    function, conditions = unpack(packed)
    return JobCall(function, conditions, env, retries, site)


def _remade_ask(packed: bytes, name: str) -> AskCall:
    _, conditions = unpack(packed)
    return AskCall(None, conditions, name)


class _Environment:
    """Environment variables, for a while."""

    def __init__(self, env: tuple[tuple[str, str], ...]) -> None:
        self._env = env

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name, _ in self._env}
        os.environ.update(self._env)

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# Without a run ---------------------------------------------------------------------------------------------


def call_here(job: Job[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call the function of a job as it stands in the code, with its conditions checked.

    Of an array job this is one element: postconditions of the whole array are not asked.
    """
    from weft.errors import ArgumentError

    arguments, conditions = job.arguments, job.conditions
    if arguments.takes:
        raise ArgumentError(
            f"{job.name} takes the result of {arguments.takes[0].name}, which is there in a run only; write "
            f"schedule({job.function_name})"
        )
    element = NO_ELEMENT if job.elements is None else _element(job, args, kwargs)
    if conditions:
        check(conditions, "before", job.name)
        if element is not NO_ELEMENT:
            check(conditions, "before", job.name, element)
    result = job.function(*arguments.args, *args, **{**arguments.kwargs, **kwargs})
    if conditions:
        check(conditions, "after", job.name, element)
    return result


def _element(job: Job[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    if args:
        return args[0]
    from weft.errors import ArgumentError
    from weft.jobs.bind import element_parameter

    name = element_parameter(job.metafunc.get_signature())
    if name is None or name not in kwargs:
        raise ArgumentError(f"{job.name} takes an element of its array: write {job.function_name}({name}=...)")
    return kwargs[name]
