"""The arguments of a job: bound beforehand, with results of other jobs among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from weft.errors import ArgumentError
from weft.jobs.conditions import counted, positional
from weft.tree import form_of, rebuild, remember, walk

if TYPE_CHECKING:
    from inspect import BoundArguments, Parameter, Signature

    from weft.jobs.node import Job

__all__ = ["NO_ARGUMENTS", "Arguments", "bound", "element_parameter", "jobs_in", "unbound", "with_results"]


class Arguments(NamedTuple):
    """What a function is called with, after the element of an array; jobs in it stand for their results."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}
    takes: tuple[Any, ...] = ()  #: The jobs in it, each once.
    missing: tuple[str, ...] | None = None  #: Required parameters that nothing is bound to; None: not looked at yet.


NO_ARGUMENTS = Arguments()

_SCALARS = frozenset({int, float, complex, bool, str, bytes, type(None)})  # need no copy, and hold no job


def bound(job: Job[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
    """The arguments of `job` and these, as `functools.partial` puts them together; a snapshot of them.

    Raises:
        ArgumentError: (a TypeError) what the function does not take, or no job can be given.
    """
    before = job.arguments
    if job.elements is None and not (kwargs or before.kwargs) and _SCALARS.issuperset(map(type, args)):
        required, most = counted(job.function) or (0, -1)
        given = (*before.args, *args)
        if len(given) <= most:  # as nearly always
            names = job.function.__code__.co_varnames
            return Arguments(given, before.kwargs, before.takes, names[len(given) : required])
    signature = job.metafunc.get_signature()
    if job.elements is not None:
        _refuse_element(job, signature, args, kwargs)
    name = job.function_name
    try:
        placed = (None,) if job.elements is not None else ()
        taken = signature.bind_partial(*placed, *before.args, *args, **{**before.kwargs, **kwargs})
    except TypeError as error:
        raise ArgumentError(f"{name}: {error}; it is called as {name}{signature}") from None
    missing = _missing(signature, taken)
    if _SCALARS.issuperset(map(type, args)) and _SCALARS.issuperset(map(type, kwargs.values())):
        return Arguments((*before.args, *args), {**before.kwargs, **kwargs}, before.takes, missing)
    from weft.calls.snapshot import Snapshot

    snapshot = Snapshot()
    args, kwargs = snapshot([args, dict(kwargs)])
    if snapshot.futures:
        raise ArgumentError(
            f"{name}.bind: {snapshot.futures[0]!r:.60} is a future; a job takes values, and the results of jobs: "
            "bind the job itself, or the future's result()"
        )
    args, kwargs = (*before.args, *args), {**before.kwargs, **kwargs}
    return Arguments(args, kwargs, tuple(jobs_in((args, kwargs))), missing)


def _refuse_element(job: Job[..., Any], signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    first = element_parameter(signature)
    name = job.function_name
    if args or (first is not None and first in kwargs):
        shown = "its first argument" if first is None else repr(first)
        raise ArgumentError(
            f"{name}.bind: {shown} comes from the array, one element for each call; bind the others, by name: "
            f"{name}.bind(x=...)"
        )


def element_parameter(signature: Signature) -> str | None:
    """The name of the parameter that gets the element of an array, where it has one that can be used."""
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            return parameter.name
        break
    return None


def unbound(job: Job[..., Any]) -> Sequence[str]:
    """The required parameters that nothing is bound to."""
    function, arguments = job.function, job.arguments
    if arguments.missing is not None:
        return arguments.missing
    of_array = job.elements is not None
    if arguments is NO_ARGUMENTS:
        try:
            required, _ = positional(function, job.name)
        except ArgumentError:  # it has more to it than a count
            required = -1
        if required == 0 or (required == 1 and of_array):
            return []
    try:
        signature = job.metafunc.get_signature()
    except ArgumentError:  # a builtin that tells nothing: then its call will
        return []
    return _missing(
        signature, signature.bind_partial(*((None,) if of_array else ()), *arguments.args, **arguments.kwargs)
    )


def _missing(signature: Signature, given: BoundArguments) -> tuple[str, ...]:
    return tuple(
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.name not in given.arguments and _is_required(parameter)
    )


def _is_required(parameter: Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind not in (
        parameter.VAR_POSITIONAL,
        parameter.VAR_KEYWORD,
    )


def jobs_in(data: Any) -> list[Any]:
    """The jobs in `data`, each once, in the order in which they are met; what is walked is what `weft.tree` walks."""
    found = {id(item): item for item in walk((data,), _holds_no_job) if _is_job(type(item))}
    return list(found.values())


def with_results(arguments: Arguments, result: Callable[[Any], Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """The arguments with ``result(job)`` in the place of each job."""
    if not arguments.takes:
        return arguments.args, arguments.kwargs

    def leaf(item: Any) -> Any:
        return result(item) if _is_job(type(item)) else item

    data = [list(arguments.args), dict(arguments.kwargs)]
    args, kwargs = rebuild(data, leaf, _holds_no_job, {}, fresh=False)
    return tuple(args), kwargs


@remember
def _is_job(kind: type) -> bool:
    from weft.jobs.node import Job

    return issubclass(kind, Job)


@remember
def _holds_no_job(kind: type) -> bool:
    return form_of(kind) is None and not _is_job(kind)
