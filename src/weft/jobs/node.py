"""A job: a function, what it needs, what it leaves behind, and which jobs it comes after."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any, Generic, Literal, NamedTuple, ParamSpec, Self, TypeAlias, TypeVar, get_args

from weft.calls.metafunc import MetaFuncBase, MinimalMetaFunc
from weft.engine.edges import WAIT_FOR, WaitFor, choose
from weft.errors import ArgumentError, ChoiceError, CycleError
from weft.jobs.bind import NO_ARGUMENTS, Arguments, bound
from weft.jobs.conditions import Condition, When
from weft.jobs.spec import Spec
from weft.payload import call_name

__all__ = ["Edge", "Job", "Status"]

P = ParamSpec("P")
R = TypeVar("R")

#: What is asked of a job that another one comes after: that it succeeded, that it failed, or that it is over.
Status: TypeAlias = Literal["success", "failure", "any"]

STATUSES: tuple[str, ...] = get_args(Status)


class Edge(NamedTuple):
    """How one job comes after another."""

    status: Status = "success"
    each: bool = False  #: Element after element, of two arrays of one size.


NEEDS = Edge()  # of a job that takes the result of another

_numbers = count()


class Job(Generic[P, R]):
    """A node in a graph of functions. Made by `job`; called plainly, it is its function, with its conditions checked.

    Attributes:
        name: any text.
        metafunc, function: what it calls.
        resources, settings, backend, ...: see `spec`.
        elements: the values of its array; None where it has none.
        left: the places in `elements` that `prune` has left over; all, before.
        edges: from each job that it comes after to how.
        arguments: what is bound; the jobs among them are in `arguments.takes`.
        wait_for: ``"all"`` of its edges, or ``"any"``.
        conditions: what `ensure` was given.
    """

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __init__(self, metafunc: MetaFuncBase, spec: Spec) -> None:
        function = metafunc.function if type(metafunc) is MinimalMetaFunc else metafunc
        # As functools.update_wrapper does; but there may be 100,000 of these.
        #: What is called in the end.
        self.function = self.__wrapped__ = function
        self.__module__ = getattr(function, "__module__", __name__)
        self.__qualname__ = getattr(function, "__qualname__", spec.name)
        self.__name__ = getattr(function, "__name__", spec.name)
        self.__doc__ = function.__doc__
        self.metafunc = metafunc
        self.name = spec.name
        self.spec = spec
        self.elements = spec.elements
        self.left: Sequence[int] | None = None if spec.elements is None else range(len(spec.elements))
        self.arguments: Arguments = NO_ARGUMENTS
        self.edges: dict[Job[..., Any], Edge] = {}
        self.wait_for: WaitFor = "all"
        self.conditions: tuple[Condition, ...] = ()
        self._dependents: dict[Job[..., Any], None] = {}
        self._number = next(_numbers)  # in the order in which jobs are made

    @property
    def function_name(self) -> str:
        """What that is called in messages."""
        return call_name(self.__wrapped__)

    @property
    def array(self) -> Sequence[Any] | None:
        """The elements that are left to run; None for a job without an array."""
        if self.elements is None or self.left is None:
            return None
        return self.elements if len(self.left) == len(self.elements) else [self.elements[place] for place in self.left]

    # The graph

    @property
    def dependencies(self) -> list[Job[..., Any]]:
        """All jobs that it comes after, those whose results it takes included."""
        if not self.arguments.takes:
            return list(self.edges)
        return list(dict.fromkeys((*self.edges, *self.arguments.takes)))

    @property
    def dependents(self) -> list[Job[..., Any]]:
        """All jobs that come after it."""
        return list(self._dependents)

    def after(self, *deps: Job[..., Any], status: Status = "success", each: bool = False) -> Self:
        """Have it run after others; returns the job itself.

        Args:
            deps: the jobs that it comes after. Of two edges between the same jobs the last one counts.
            status: what is asked of them: ``"success"`` (default), ``"failure"``, or ``"any"``: that they are over.
            each: element i comes after element i; for arrays of the same size. Default: after all elements.

        Raises:
            ArgumentError: (a TypeError) something that is no job; `each` without arrays of one size.
            ChoiceError: (a ValueError) an unknown status, or one that a job whose result is taken cannot have.
            CycleError: (a ValueError) the job itself.
        """
        if status not in STATUSES:
            choose(status, STATUSES, f"status of @after for {self.name}")
        edge = NEEDS if status == "success" and not each else Edge(status, bool(each))
        for dep in deps:
            self._check(dep, edge)
        for dep in deps:
            self.edges[dep] = edge
            dep._dependents[self] = None
        return self

    def detach(self, *deps: Job[..., Any]) -> Self:
        """Take back `after`; jobs that it does not come after are no mistake. Returns the job itself.

        Raises ArgumentError (a TypeError) for a job whose result it takes: that edge is its argument.
        """
        for dep in deps:
            refuse_no_job(dep, f"{self.name}.detach")
            if dep in self.arguments.takes:
                raise ArgumentError(
                    f"{self.name} takes the result of {dep.name}, so it comes after it; bind another value instead"
                )
        for dep in deps:
            if self.edges.pop(dep, None) is not None:
                dep._dependents.pop(self, None)
        return self

    def waitfor(self, wait_for: WaitFor) -> Self:
        """Have it wait for ``"all"`` jobs that it comes after (default), or for ``"any"`` one; returns the job itself.

        Jobs whose results it takes are waited for in any case. Raises ChoiceError (a ValueError) for another word.
        """
        self.wait_for = "any" if choose(wait_for, WAIT_FOR, f"@waitfor of {self.name}") == "any" else "all"
        return self

    def ensure(self, condition: Callable[..., object], when: When = "after") -> Self:
        """Add a condition; returns the job itself.

        Args:
            condition: a function that says whether something holds. One that takes an argument is asked for each
                element of the job's array, one that takes none once for the job.
            when: ``"after"`` (default): a job that has such conditions, and whose conditions hold, is done and need not
                run; one that has run and does not make them hold has failed. ``"before"``: must hold when the job is
                about to run, or it fails.

        Raises:
            ArgumentError: (a TypeError) no function, or one with a number of arguments that cannot be.
            ChoiceError: (a ValueError) another `when`.
        """
        if isinstance(condition, Job):
            raise ArgumentError(
                f"@ensure needs a condition, got the job {condition.name}; write @ensure(lambda: ...), and @after for "
                "jobs"
            )
        read = Condition.read(condition, when, of=self.name, is_array=self.elements is not None)
        self.conditions = (*self.conditions, read)
        return self

    def bind(self, *args: Any, **kwargs: Any) -> Job[..., R]:
        """A new job with the same function, settings and conditions, and with these arguments; without edges.

        Arguments are copied now. A job among them, also inside lists, tuples, dicts, sets and dataclasses, stands for
        its result, and is a dependency. Of an array job all can be bound but what its element goes to.

        Raises ArgumentError (a TypeError) for arguments that the function does not take.
        """
        arguments = bound(self, args, kwargs)
        new: Job[..., R] = Job(self.metafunc, self.spec)
        new.name = self.name
        new.conditions = self.conditions
        new.wait_for = self.wait_for
        new.arguments = arguments
        for dep in arguments.takes:
            dep._dependents[new] = None
        return new

    def prune(self) -> Self:
        """Cut from the graph what need not run for this job, and return the job itself.

        Done jobs are detached from those that come after them, arrays keep the elements that are not done; see
        `weft.jobs.prune`. `schedule` does as much, without a change to the graph.

        Raises:
            ConditionError: (a RuntimeError) a condition that raises.
            CycleError: (a ValueError) jobs that wait for each other.
        """
        from weft.jobs.prune import prune

        prune(self)
        return self

    # A function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        from weft.jobs.call import call_here

        return call_here(self, args, kwargs)  # type: ignore[no-any-return]

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self._can_be_imported():
            return self.__qualname__
        from weft.payload import by_value

        # This job, and no other: neither the graph, nor those whose results it takes.
        arguments = NO_ARGUMENTS if self.arguments.takes else self.arguments
        spec = self.spec._replace(name=self.name, backend=None)
        return by_value(_remade, (self.metafunc, spec, self.conditions, arguments))

    def _can_be_imported(self) -> bool:
        # The main script is not a module that another process could import by that name.
        if self.__module__ in (None, "__main__", "__mp_main__"):
            return False
        found: Any = sys.modules.get(self.__module__)
        for part in self.__qualname__.split("."):
            found = getattr(found, part, None)
        return found is self

    def __deepcopy__(self, memo: Any) -> Self:
        return self  # as an argument it stands for itself

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Job {self.name!r}>" if self.left is None else f"<Job {self.name!r} x {len(self.left)}>"

    def _check(self, dep: Any, edge: Edge) -> None:
        """Refuse an edge that cannot be."""
        refuse_no_job(dep, f"@after of {self.name}")
        if dep is self:
            raise CycleError(f"{self.name} cannot come after itself: {self.name} <- {self.name}")
        if dep in self.arguments.takes and edge.status != "success":
            raise ChoiceError(
                f"{self.name} takes the result of {dep.name}, so it cannot come after it with status={edge.status!r}; "
                "write two jobs, or leave the result out"
            )
        if edge.each:
            sizes = [None if job.elements is None else len(job.elements) for job in (self, dep)]
            if None in sizes or sizes[0] != sizes[1]:
                shown = ["no array" if size is None else f"an array of {size}" for size in sizes]
                raise ArgumentError(
                    f"@after({dep.name}, each=True) of {self.name} needs two arrays of one size; {self.name} has "
                    f"{shown[0]}, {dep.name} {shown[1]}"
                )


def refuse_no_job(thing: Any, where: str) -> None:
    """Raise ArgumentError for what is no job, saying what to write."""
    if isinstance(thing, Job):
        return
    if callable(thing) and not isinstance(thing, type):
        hint = f"write @job above def {call_name(thing)}"
    elif isinstance(thing, Iterable) and not isinstance(thing, str | bytes):
        hint = "give several as a, b, or with a star: *jobs"
    else:
        hint = "give what @job has made"
    raise ArgumentError(f"{where} needs jobs, got {thing!r:.60}, which is none; {hint}")


def _remade(
    metafunc: MetaFuncBase, spec: Spec, conditions: tuple[Condition, ...], arguments: Arguments
) -> Job[..., Any]:
    job: Job[..., Any] = Job(metafunc, spec)
    job.conditions = conditions
    job.arguments = arguments
    return job
