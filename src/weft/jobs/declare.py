"""The decorators: `job`, `after`, `ensure`, `waitfor`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from weft.calls.metafunc import MetaFuncBase, MinimalMetaFunc
from weft.calls.tasks import Task, refuse_method
from weft.errors import ArgumentError
from weft.jobs.conditions import When, positional
from weft.jobs.node import Job, Status, refuse_no_job
from weft.jobs.spec import OWN, Spec, read_spec
from weft.payload import call_name
from weft.resources import Resources

if TYPE_CHECKING:
    from datetime import timedelta

    from weft.engine.edges import WaitFor
    from weft.resources import Cause, Retry

__all__ = ["after", "ensure", "job", "waitfor"]

P = ParamSpec("P")
R = TypeVar("R")
J = TypeVar("J", bound=Job[..., Any])

GENERATOR = 0x20  # of a code object's flags


@overload
def job(function: Callable[P, R], /) -> Job[P, R]: ...
@overload
def job(
    *,
    name: str | None = None,
    array: int | str | Iterable[Any] | None = None,
    array_throttle: int | str | None = None,
    cpus: int | str | None = None,
    gpus: int | str | None = None,
    memory: int | str | None = None,
    time: float | str | timedelta | None = None,
    env: Mapping[str, str] | None = None,
    setup: str | Iterable[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    backend: Any = None,
    retries: int | Mapping[Cause, int | Retry] | None = None,
    **raw: Any,
) -> Callable[[Callable[P, R]], Job[P, R]]: ...
def job(function: Any = None, /, *more: Any, **options: Any) -> Any:
    """Make a job of a function: ``@job``, or ``@job(cpus=4, array=10, ...)``.

    Args:
        name: any text; default: the function's name. Where several jobs of a run have one name, a number is added.
        array: run the function once for each element: a number n for ``range(n)``, or the values themselves (an
            iterable; a set is sorted). The function takes the element as its first argument. An empty array succeeds at
            once.
        array_throttle: so many elements at once, at most. Default: as many as there is room for.
        cpus, gpus: whole numbers.
        memory: bytes, or text such as ``"8GB"``, which is 8 times 1024 MB; ``ram`` means the same.
        time: the limit in seconds, or text such as ``"1h30m"`` or ``"1:30:00"``; ``timelimit`` means the same.
        env: environment variables, texts, that are set while the job runs.
        setup: lines for the script of a batch system; nothing elsewhere.
        backend: where this job runs, as in `schedule`. Default: where `schedule` says.
        retries: up to so many further tries after any failure, or numbers and `Retry` by cause:
            ``{"died": 2, "memory": Retry(2, memory=1.5), "timeout": Retry(1, time=2)}``.
        settings, raw: options for the batch system, passed on as they are: ``exclusive=None`` is a bare flag, and
            ``False`` leaves it out.

    Numbers may be texts. The job is called as its function is, with its conditions checked.

    Raises:
        ArgumentError: (a TypeError) an option of the wrong kind, one with a letter wrong, something that is no plain
            function, an array for a function without arguments.
        ChoiceError: (a ValueError) an option with a value that it cannot have.
    """
    if more or (function is not None and not callable(function)):
        shown = ", ".join(repr(item) for item in (function, *more) if item is not None)
        raise ArgumentError(
            f"@job takes its options by name, got {shown:.60}; write @job(name=..., cpus=...); options: {_options()}"
        )
    spec = read_spec("@job", options)
    return (lambda function: _made(function, spec)) if function is None else _made(function, spec)


def _made(function: Any, spec: Spec) -> Job[Any, Any]:
    metafunc = _metafunc(function)
    if isinstance(metafunc, Task):
        name = metafunc.describe()
        base = Resources.read("@task", **metafunc.get_resources())
        spec = spec._replace(name=spec.name or name, resources=base.merged(spec.resources))
    elif not spec.name:
        spec = spec._replace(name=call_name(function))
    if spec.elements is not None and positional(function, f"@job(array=...) of {spec.name}")[1] == 0:
        raise ArgumentError(
            f"@job(array=...): {spec.name} takes no argument, and gets an element of the array; write def "
            f"{call_name(function)}(i)"
        )
    return Job(metafunc, spec)


def _metafunc(function: Any) -> MetaFuncBase:
    if type(function) is FunctionType and "." not in function.__qualname__:  # as nearly always
        if function.__code__.co_flags & GENERATOR:
            raise _generator(function)
        return MinimalMetaFunc(function)
    if isinstance(function, Job):
        raise ArgumentError(f"{function.name} is a job already; write @job once, just above the function")
    if isinstance(function, MetaFuncBase):
        return function
    refuse_method("@job", function)
    if getattr(getattr(function, "__code__", None), "co_flags", 0) & GENERATOR:
        raise _generator(function)
    return MinimalMetaFunc(function)


def _generator(function: Any) -> ArgumentError:
    return ArgumentError(f"{call_name(function)} is a generator function, whose result cannot be kept; return a list")


def _options() -> str:
    return ", ".join(Resources.options(*OWN))


def after(*deps: Job[..., Any], status: Status = "success", each: bool = False) -> Callable[[J], J]:
    """Have the job below run after others: ``@after(a, b)``, above ``@job``.

    See `Job.after` for the arguments and what it raises.
    """
    if not deps:
        raise ArgumentError("@after needs the jobs that come before: write @after(estimate)")
    for dep in deps:
        _refuse_bare("after", "estimate", dep)
        refuse_no_job(dep, "@after")

    def decorate(job: J) -> J:
        return _above_job("after", job).after(*deps, status=status, each=each)

    return decorate


def waitfor(wait_for: WaitFor) -> Callable[[J], J]:
    """Have the job below wait for ``"all"`` jobs that it comes after (the default), or for ``"any"`` one of them."""
    from weft.engine.edges import WAIT_FOR, choose

    _refuse_bare("waitfor", '"any"', wait_for)
    choose(wait_for, WAIT_FOR, "@waitfor(...)")

    def decorate(job: J) -> J:
        return _above_job("waitfor", job).waitfor(wait_for)

    return decorate


def ensure(condition: Callable[..., object], when: When = "after") -> Callable[[J], J]:
    """Give the job below a condition: ``@ensure(lambda: Path("pi.npy").exists())``, above ``@job``.

    See `Job.ensure` for the arguments and what it raises.
    """
    if not callable(condition) or isinstance(condition, (type, Job)):
        raise ArgumentError(
            f'@ensure needs a condition, got {condition!r:.60}; write @ensure(lambda: Path("result.txt").exists()), '
            "above @job"
        )

    def decorate(job: J) -> J:
        return _above_job("ensure", job).ensure(condition, when)

    return decorate


def _refuse_bare(decorator: str, example: str, given: Any) -> None:
    """``@after`` without brackets gets what is below it."""
    if type(given) is not Job and callable(given) and not isinstance(given, type):
        raise ArgumentError(
            f"@{decorator} got the function {call_name(given)}, which is no job; write @{decorator}({example}) above "
            "@job"
        )


def _above_job(decorator: str, job: J) -> J:
    if isinstance(job, Job):
        return job
    raise ArgumentError(
        f"@{decorator} needs a job below it, got {call_name(job) if callable(job) else repr(job)[:60]}; write "
        f"@{decorator}(...) above @job, and @job just above the function"
    )
