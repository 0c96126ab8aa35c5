"""Worker processes on this machine."""

from __future__ import annotations

import itertools
import os
import sys
import time as clock
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import chain
from pickle import dumps
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from weft.engine.living import Living
from weft.errors import ArgumentError, ChoiceError, WeftError
from weft.executors.batch import SMALL, packed_value
from weft.executors.launch import KEEPER, STARTS, Start
from weft.executors.tasks import LocalFuture, Sweep
from weft.payload import call_name, pack

if TYPE_CHECKING:
    from weft.executors.functions import Common
    from weft.executors.pool import Pool
    from weft.executors.supervisor import Supervisor
    from weft.resources import Resources

__all__ = ["LocalExecutor"]

P = ParamSpec("P")
T = TypeVar("T")

_NAMES = itertools.count(1)
#: Types whose instances a plain pickle brings anywhere.
_PLAIN = frozenset({int, float, str, bytes, bool, type(None), complex})


class LocalExecutor(Executor):
    """A `concurrent.futures.Executor` that runs calls in processes on this machine.

    ::

        with LocalExecutor() as ex:
            squares = list(ex.map(lambda x: x * x, range(1000)))

    No ``if __name__ == "__main__"`` guard is needed; lambdas, closures and functions of the script or notebook travel.
    A task finds the working directory, `sys.path` and context variables of where it was submitted.

    Args:
        max_workers: how many processes, and how many cpus they share. Default: the cpus that this process may use.
        cpus, gpus, memory, time, retries: what each task asks for, see `using`.
        max_tasks_per_worker: after so many tasks a worker is replaced. Default: never.
        fresh: each task has a worker of its own, started for it, and is done when that and all that it has left running
            are gone. Default: workers are used again.
        initializer, initargs: called in each worker before its first task. If it fails, nothing can run:
            `ExecutorBroken`.
        env: further environment variables for the workers.
        output: what tasks write to stdout and stderr goes to this process's (``"inherit"``, the default; lines stay
            whole), to `future.output` (``"capture"``), or to a file for each task in a folder with this path.
        name: for threads and messages.
        start: how workers are started: ``"forkserver"`` (default), ``"spawn"``, or ``"fork"``: of this very process,
            so that functions and arguments that cannot be pickled, such as those with locks, queues and open files,
            work too; safe only as far as threads of this process hold no locks at that moment.
        locals: show local variables in the tracebacks of failed tasks. Default: the variable WEFT_TRACEBACK_LOCALS.

    Raises:
        ArgumentError: (a TypeError) an option of the wrong kind.
        ChoiceError: (a ValueError) an option with a value that cannot be.

    A task that fails has the exception of its function, whose `__cause__` shows the traceback from the worker. Beyond
    that there are, all in `weft.errors`: `WorkerDied` (only the task that ran; the worker is replaced), `TaskTimeout`,
    `TaskExited` (it called `sys.exit`), `RemoteError` (an exception that cannot be brought over).
    """

    #: It takes functions and arguments as they are, packs them by itself and names what cannot be packed; and it ships
    #: a function once. Runners give an executor without this attribute bytes.
    carries_objects = True

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        cpus: int | str | None = None,
        gpus: int | str | None = None,
        memory: int | str | None = None,
        time: float | str | None = None,
        retries: Any = None,
        max_tasks_per_worker: int | None = None,
        fresh: bool = False,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        env: Mapping[str, str] | None = None,
        output: str | os.PathLike[str] = "inherit",
        name: str | None = None,
        start: Start = "forkserver",
        locals: bool | None = None,
    ) -> None:
        _check_count("max_workers", max_workers)
        _check_count("max_tasks_per_worker", max_tasks_per_worker)
        if start not in STARTS:
            raise ChoiceError(f"start must be one of {', '.join(map(repr, STARTS))}, got {start!r}")
        KEEPER.warm_up()  # first, so that it starts while we import the rest
        from weft.executors.pool import Options, Pool
        from weft.executors.supervisor import Supervisor
        from weft.executors.terms import Machine
        from weft.executors.worker import Setting

        machine = Machine(max_workers)
        self.name = name or f"local-{next(_NAMES)}"
        words = {"cpus": cpus, "gpus": gpus, "memory": memory, "time": time, "retries": retries}
        self._words = {word: value for word, value in words.items() if value is not None}
        self._terms = machine.terms(_read("LocalExecutor", self._words) if self._words else None)
        options = Options(
            Setting(_here(), list(sys.path), ()),
            start,
            _packed_initializer(initializer, initargs),
            _environment(env),
            _where(output),
            bool(os.environ.get("WEFT_TRACEBACK_LOCALS", "0") not in ("", "0")) if locals is None else locals,
            1 if fresh else max_tasks_per_worker,
            fresh,
        )
        self._pool = Pool(machine, options, self.name)
        self._supervisor = Supervisor(self._pool)
        self._whole: LocalExecutor | None = None  # of a view: the executor itself, which must not be collected
        _living.add(self._supervisor)
        finalizer = weakref.finalize(self, _let_go, self._supervisor, self.name)
        finalizer.atexit = False

    def using(self, **words: Any) -> LocalExecutor:
        """The same executor, with other resources for the tasks that are submitted through what is returned.

        Args:
            cpus: how many of the executor's slots a task takes. Libraries such as OpenBLAS get as many threads, unless
                a variable such as OMP_NUM_THREADS says otherwise. Default: 1.
            gpus: how many GPUs it gets to see, in CUDA_VISIBLE_DEVICES. Default: as it is.
            memory: bytes, or text such as ``"8GB"``: tasks that together ask for more than this machine has do not run
                at once.
            time: seconds, or text such as ``"10m"``: a task that runs longer is stopped with all that it has started,
                and fails with `TaskTimeout`.
            retries: how often a failed task is tried again; a number, or a dict by cause, see `weft.resources.Retry`.

        Raises:
            ArgumentError: (a TypeError) an unknown word.
            ChoiceError: (a ValueError) a value that cannot be, or more than this machine has.
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._whole = self._whole or self
        asked = _read("LocalExecutor", self._words).merged(_read("using", words))
        view._words = asked.words()
        view._terms = self._pool.machine.terms(asked)
        return view

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> LocalFuture[T]:
        """Have ``fn(*args, **kwargs)`` run; returns its future at once.

        Raises:
            ArgumentError: (a TypeError) what cannot be sent to another process, naming it.
            ClosedError: (a RuntimeError) after `shutdown()`.
            ExecutorBroken: (a BrokenExecutor) no worker can be started.
        """
        pool = self._pool
        if pool.closed:
            pool.check_open()
        shelf = pool.shelf
        segments: Any = ()
        call: Any = b""
        try:
            function = shelf.function(fn)
            if args or kwargs:
                if not kwargs and _PLAIN.issuperset(map(type, args)):
                    call = dumps((args, kwargs), 5)
                if not call or len(call) > SMALL:
                    call, segments = packed_value((args, kwargs))
        except Exception as error:  # noqa: BLE001 - pickling runs code of the user's
            function, call, segments = self._unpackable(error, fn, args, kwargs)
        task: LocalFuture[T] = LocalFuture(pool, function, shelf.setting(), call, segments, self._terms)
        try:
            sends, wake = pool.accept(task)
            if sends:
                self._supervisor.send(sends)
            if wake:
                self._supervisor.wake()
        except WeftError:
            raise
        except BaseException:  # a Ctrl-C, or what another signal handler raises
            self._supervisor.mend()
            raise
        return task

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
    ) -> Iterator[T]:
        """The results of ``fn`` for the items of the iterables, in order.

        All calls are taken at once. They go to workers in messages that are sized as they turn out to take time, so
        there is no `chunksize` to find.

        Args:
            fn: a function of as many arguments as there are iterables.
            iterables: of arguments; the shortest counts.
            timeout: seconds from now, after which asking for a result that is not there raises TimeoutError.
            chunksize: most calls in one message. Default: as many as is worth it.

        Raises what `submit` raises. An exception of a call is raised where its result would come.
        """
        deadline = None if timeout is None else clock.monotonic() + timeout
        if chunksize is not None and chunksize < 1:
            raise ChoiceError("chunksize must be >= 1.")
        pool = self._pool
        pool.check_open()
        rows = list(iterables[0]) if len(iterables) == 1 else list(zip(*iterables, strict=False))
        try:
            function = pool.shelf.function(fn)
            calls, plain = _packed_calls(rows, len(iterables) == 1)
        except _BadCallError as bad:
            raise _refusal(call_name(fn), bad.args_of_call, {}, bad.error, fn) from bad.error
        except Exception as error:
            raise _refusal(call_name(fn), (), {}, error, fn) from error
        sweep: Sweep[T] = Sweep(function, pool.shelf.setting(), calls, plain, self._terms)
        sweep.chunk = chunksize or 0
        pool.accept_all(sweep)
        self._supervisor.wake()
        return _results(sweep, deadline, pool, self)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept nothing more, and end the workers when all is done. May be called again.

        Args:
            wait: return when that is so.
            cancel_futures: cancel what no worker has begun.

        A Ctrl-C while it waits stops everything.
        """
        self._pool.close(f"cannot submit: {self.name} has been shut down")
        if cancel_futures:
            self._pool.drop_all()
            self._supervisor.end_queued(None)
        self._supervisor.wake()
        if wait:
            self._supervisor.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._supervisor.abort()
        self.shutdown()

    def _unpackable(
        self, error: Exception, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Common, Any, Any]:
        """Refuse what cannot be sent; unless workers are forked: then a new one has it all."""
        name = call_name(fn)
        if self._pool.options.start != "fork":
            raise _refusal(name, args, kwargs, error, fn) from error
        shelf = self._pool.shelf
        try:
            call, segments = packed_value((args, kwargs)) if args or kwargs else (b"", [])
        except Exception:  # noqa: BLE001 - it is the arguments: they go along with the function, to this one task
            return shelf.unpackable_function(partial(fn, *args, **kwargs), name, again=False), b"", ()
        return shelf.unpackable_function(fn, name, again=True), call, segments

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a LocalExecutor cannot travel to another process; make one there, or submit from where it was made"
        )

    def __repr__(self) -> str:
        return f"<LocalExecutor {self.name!r}>"


def _refusal(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception, function: Callable[..., Any]
) -> ArgumentError:
    from weft.payload import unpackable_arguments

    return unpackable_arguments(name, args, kwargs, error, function)


def _read(where: str, words: dict[str, Any]) -> Resources:
    from weft.resources import Resources

    return Resources.read(where, **words)


def _check_count(word: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentError(f"{word} must be a whole number, got {value!r:.60}")
    if value < 1:
        raise ChoiceError(f"{word} must be at least 1, got {value}")


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    if env is None:
        return {}
    from weft.resources import read_environment

    return read_environment("LocalExecutor", env)


def _where(output: str | os.PathLike[str]) -> str | None:
    """None: relayed; "": kept in memory; else the folder."""
    if output == "inherit":
        return None
    if output == "capture":
        return ""
    if not isinstance(output, (str, os.PathLike)) or not os.fspath(output):
        raise ArgumentError(f'output must be "inherit", "capture" or the path of a folder, got {output!r:.60}')
    folder = os.path.abspath(os.fspath(output))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return folder


def _packed_initializer(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> bytes:
    if initializer is None:
        return b""
    if not callable(initializer):
        raise ArgumentError(f"initializer must be a function, got {initializer!r:.60}")
    try:
        return pack((initializer, tuple(initargs)))
    except Exception as error:
        raise _refusal(call_name(initializer), tuple(initargs), {}, error, initializer) from error


def _here() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


class _BadCallError(Exception):
    def __init__(self, args_of_call: tuple[Any, ...], error: Exception) -> None:
        super().__init__()
        self.args_of_call = args_of_call
        self.error = error


def _packed_calls(rows: list[Any], single: bool) -> tuple[list[Any], bool]:
    """The calls of a map, and whether they are the single arguments themselves."""
    if single:
        kinds = set(map(type, rows))
        if kinds <= _PLAIN and (kinds.isdisjoint((str, bytes)) or _are_small(rows)):
            return rows, True
    calls: list[Any] = []
    for row in rows:
        args = (row,) if single else row
        try:
            packed, segments = packed_value((args, {}))
        except Exception as error:
            raise _BadCallError(args, error) from error
        calls.append(packed if not segments else (packed, segments))
    return calls, False


def _are_small(items: list[Any]) -> bool:
    """Whether no item is so long that it should travel apart."""
    return all(len(item) < 64 for item in items if type(item) in (str, bytes))


def _results(sweep: Sweep[T], deadline: float | None, pool: Pool, keep: LocalExecutor) -> Iterator[T]:
    try:
        yield from chain.from_iterable(sweep.results(deadline))
    finally:
        pool.stop(sweep)  # given up early, perhaps
        del keep  # until here, so that an executor that nobody holds is not shut down half-way


# What becomes of executors that nobody shut down -------------------------------------------------------------


def _let_go(supervisor: Supervisor, name: str) -> None:
    supervisor.pool.close(f"cannot submit: {name} is no more")
    if supervisor.thread is not None:
        supervisor.wake()
    else:
        supervisor.close()


def _end_all(supervisors: Sequence[Supervisor], interrupted: bool) -> None:
    """At exit: what was submitted still runs, as with the standard library's executors; not after a Ctrl-C."""
    for supervisor in supervisors:
        if interrupted:
            supervisor.abort()
        supervisor.pool.close("cannot submit: the interpreter is about to end")
        if supervisor.thread is not None:
            supervisor.wake()
    for supervisor in supervisors:
        supervisor.join()


_living: Living[Supervisor] = Living(_end_all, lambda supervisor: supervisor.forget())
