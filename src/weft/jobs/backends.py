"""Where jobs run: the questions that a run asks of a backend, and the names of those that there are.

A backend is an object with the methods of `Backend`; whoever writes one passes it as ``schedule(..., backend=mine)``.
Any `concurrent.futures.Executor` will do as well.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from weft.engine.edges import choose
from weft.errors import ArgumentError

if TYPE_CHECKING:
    from weft.jobs.call import JobCall
    from weft.jobs.node import Job

__all__ = [
    "DEFAULT",
    "DRY",
    "NAMES",
    "Backend",
    "Place",
    "check_backend",
    "check_options",
    "default_backend",
    "is_batch",
    "is_dry",
    "open_backend",
]

NAMES = ("local", "threads", "serial", "slurm", "condor", "dry")
BATCH = ("slurm", "condor")  # of these, those that are batch systems
DEFAULT = "WEFT_BACKEND"  # the environment variable with the backend of scripts that name none
DRY = "dry:"  # there, before the backend that would run what is not to be run


@runtime_checkable
class Backend(Protocol):
    """A place where jobs run, as a run sees it. One object serves one run at a time.

    A batch system is none of these: it takes a whole graph at once, so that the script may end before the jobs do, and
    is asked the questions of `weft.executors.cluster.system.BatchSystem`.
    """

    #: Whether jobs run among the objects of this process, so that nothing needs to be packed.
    shares_memory: bool
    #: Whether it sees to `retries` itself; otherwise a job is tried again where it runs, after an exception.
    retries: bool

    def check(self, job: Job[..., Any], call: JobCall) -> None:
        """Before anything has started: raise for a job that it cannot run, or a call that cannot be sent there."""

    def submit(self, call: Callable[..., Any], args: tuple[Any, ...], job: Job[..., Any]) -> Future[Any]:
        """Have ``call(*args)`` run with the resources of `job`; always called by one and the same thread.

        A future with a method ``kill()`` can be stopped when it runs. What this raises is the job's failure.
        """

    def close(self, *, wait: bool, interrupted: bool) -> None:
        """No more jobs come. May be called again.

        Args:
            wait: return when nothing of it is left.
            interrupted: stop what runs, as far as that can be done.
        """


class Place:
    """What the backends here have in common; the names, and the defaults, of the questions that a run asks."""

    shares_memory = False
    retries = False

    def check(self, job: Job[..., Any], call: JobCall) -> None:
        """Raise for what cannot run there."""

    def submit(self, call: Callable[..., Any], args: tuple[Any, ...], job: Job[..., Any]) -> Future[Any]:
        """Have it run."""
        raise NotImplementedError

    def close(self, *, wait: bool, interrupted: bool) -> None:
        """No more jobs come."""

    def begin(self, run: Path) -> None:
        """A run is about to begin, in this folder."""

    def when_idle(self, function: Callable[[], object]) -> None:
        """After `close`: call it when nothing runs any more; now, where nothing does."""
        function()

    def cpus(self, job: Job[..., Any]) -> int:
        """How many of its `slots` a job takes."""
        return 1

    #: Whether `submit` may be called by any thread, one at a time: by that in which a job has ended, for the next one.
    anywhere = False

    #: How many cpus it has to share out, where the run is to see to it that jobs together ask for no more.
    slots: int | None = None

    #: For a backend that runs jobs in the thread that waits for the run: does so until the run is over.
    work: Callable[[Event], None] | None = None


def check_backend(where: str, backend: Any) -> None:
    """Refuse what is not one of `NAMES`, an executor, or an object with the methods of `Backend`."""
    if isinstance(backend, str):
        choose(backend, NAMES, where)
        return
    if not is_batch(backend) and (isinstance(backend, type) or not isinstance(backend, (Executor, Backend))):
        hint = f"; give an instance: {backend.__name__}()" if isinstance(backend, type) else ""
        raise ArgumentError(
            f"{where} must be one of {', '.join(map(repr, NAMES))}, a batch system, an executor, or an object with "
            f"the methods of weft.jobs.Backend, got {backend!r:.60}{hint}"
        )


def is_batch(backend: Any) -> bool:
    """Whether it is a batch system, by its name or itself: it may run a whole graph alone."""
    if isinstance(backend, str):
        return backend in BATCH
    return not isinstance(backend, type) and all(hasattr(backend, question) for question in ("look", "inquire", "find"))


def default_backend() -> str:
    """The backend of a script that names none: what WEFT_BACKEND says, else ``"local"``."""
    named = os.environ.get(DEFAULT, "").removeprefix(DRY)
    if not named:
        return "local"
    return choose(named, NAMES, f"the environment variable {DEFAULT}")


def is_dry() -> bool:
    """Whether the environment says that nothing is to run, whatever a script says: `weft run --dry`."""
    named = os.environ.get(DEFAULT, "")
    return named == "dry" or named.startswith(DRY)


def check_options(where: str, backend: Any, options: Iterable[str]) -> None:
    """Refuse an unknown backend, and options that one does not have, listing those that it has with their defaults.

    Raises:
        ArgumentError: (a TypeError) an unknown option.
        ChoiceError: (a ValueError) an unknown backend.
    """
    check_backend(f"{where}(backend=...)", backend)
    if is_batch(backend) or not isinstance(backend, str):
        if not is_batch(backend) and (options := list(options)):
            raise ArgumentError(f"{where} got options for a backend that is made already: {', '.join(options)}")
        return
    from weft.jobs import places

    make = getattr(places, backend, None)  # the dry one is no place
    parameters = {} if make is None else inspect.signature(make).parameters
    for option in options:
        if option not in parameters:
            known = ", ".join(f"{name}={parameter.default!r}" for name, parameter in parameters.items()) or "none"
            raise ArgumentError(f"{where}(backend={backend!r}) has no option {option!r}; options: {known}")


def open_backend(backend: Any, options: Mapping[str, Any], where: str = "schedule") -> Any:
    """A place to run jobs.

    Args:
        backend: one of `NAMES` but ``"dry"``, an executor, a batch system, or a backend object.
        options: of the backend; see its function in `weft.jobs.places`.
        where: the call that the user wrote, for messages.

    Raises what `check_options` does, and for an option of the wrong kind, or with a value that cannot be.
    """
    check_options(where, backend, options)
    from weft.jobs import places

    if isinstance(backend, str):
        return getattr(places, backend)(**options)
    if is_batch(backend):
        return places.cluster(backend, options)
    return places.foreign(backend) if isinstance(backend, Executor) else backend
