"""A `concurrent.futures.Executor` on a cluster, whatever its batch system."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from pickle import dumps
from types import TracebackType
from typing import Any, Literal, NoReturn, ParamSpec, TypeVar

from weft.engine.living import Living
from weft.errors import ArgumentError, ChoiceError
from weft.executors.cluster.adopt import adopt
from weft.executors.cluster.book import Book, Pace
from weft.executors.cluster.carry import files_for
from weft.executors.cluster.controller import Controller
from weft.executors.cluster.folder import Folder
from weft.executors.cluster.future import ClusterFuture
from weft.executors.cluster.kept import KeptFolder
from weft.executors.cluster.options import OWN, Options, count, read_options
from weft.executors.cluster.system import BatchSystem, Sheet
from weft.executors.cluster.watcher import Watcher
from weft.executors.functions import Shelf
from weft.payload import call_name, pack, unpackable_arguments
from weft.rundir import home, make_folder, safe_name

__all__ = ["ClusterExecutor"]

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 5.0  # seconds for which `shutdown` waits to be told what runs


class ClusterExecutor(Executor):
    """A `concurrent.futures.Executor` that runs each call as a job of a batch system, or as an element of one.

    Args:
        system: the batch system, such as a `FakeCluster`; `SlurmExecutor` and `CondorExecutor` have their own.
        cpus, gpus, memory, time, retries: what each task asks for; see `LocalExecutor.using`. None: nothing, and the
            site's defaults hold.
        partition, account, qos, constraint, nodes, ...: passed on to the batch system as they are.
        setup: lines for the script: directives of the batch system, and after them lines of shell.
        env: further environment variables.
        import_paths: folders that come first in the `sys.path` of tasks. That of this process, and its working
            directory, are theirs in any case.
        tasks_per_job: so many tasks make one job, one after the other. Default: 1.
        python: the interpreter that runs the tasks. Default: this one.
        directory: where calls, outcomes and logs are kept. Default: a new folder in ``.weft/executors``.
        keep_logs: keep the logs of tasks that went well. Default: True.
        max_array_size: largest array. Default: what the system takes.
        max_queued: most elements in the queue at once. Default: as many as there are.
        poll_interval: seconds between two questions to the batch system. Default: from 0.5 to 15, as things move.
        on_exit: what happens after a Ctrl-C, and when the interpreter ends: jobs are cancelled, after a Ctrl-C, or
            waited for (``"cancel"``, the default); or they go on without us, see `attach` (``"leave"``).
        name: of the executor's threads, folder and messages.

    Raises:
        ArgumentError: (a TypeError) an unknown option, or one of the wrong kind.
        ChoiceError: (a ValueError) an option with a value that cannot be.
        StorageError: (an OSError) the folder cannot be used.

    A task that fails has the exception of its function, whose `__cause__` shows the traceback from the worker. Beyond
    that there are, all in `weft.errors`: `JobDied` (its job ended and left no outcome), with `OutOfMemory` and
    `TimeLimitReached`; `TaskTimeout`; `TaskExited`; `SubmitError` (the batch system refused it); `RemoteError`.
    """

    #: See `LocalExecutor`.
    carries_objects = True

    def __init__(self, system: BatchSystem, **options: Any) -> None:
        where = type(self).__name__
        own = {word: options.pop(word, default) for word, default in OWN.items()}
        self._options = read_options(where, options, system.passes)
        _check_own(where, own)
        self.name = own["name"] or system.name
        self._system = system
        self._path = _directory(own["directory"], self.name)
        self._check(self._options)
        self._core = _Core(system, self._path, own)
        self._whole: ClusterExecutor | None = None
        _living.add(self._core)
        finalizer = weakref.finalize(self, _let_go, self._core)
        finalizer.atexit = False

    @classmethod
    def attach(
        cls, directory: str | os.PathLike[str], *system: BatchSystem, **options: Any
    ) -> dict[str, ClusterFuture[Any]]:
        """The futures of all that was ever submitted in a folder, by `ClusterFuture.key`, in the order of submission.

        For when the process that had submitted it is gone. What is finished is finished, what waits and runs goes on
        doing so, and what was written down and never submitted is. Nothing is submitted twice.

        Args:
            directory: of the executor, see `directory`.
            system: the batch system, where the class has none of its own.
            options: as for the constructor; `poll_interval`, `on_exit`.

        Raises:
            ChoiceError: (a ValueError) there is no such folder.
            RunInUse: (a RuntimeError) the process that submitted it lives.
            StorageError: (an OSError) it cannot be read, or not be trusted.
        """
        path = os.path.abspath(os.fspath(directory))
        if not os.path.exists(os.path.join(path, "executor.json")):
            raise ChoiceError(f"{path} is no folder of an executor; its attribute `directory` says where that is")
        executor = cls(*system, directory=path, **options)
        core = executor._core
        core.book.close("cannot submit: this executor only attends to what was submitted before")
        futures = adopt(core.folder, core.book, core.controller, executor._system.element)
        if futures:
            core.start()
        return futures

    @property
    def directory(self) -> Path:
        """Where calls, outcomes and logs are kept."""
        return self._path

    def using(self, **options: Any) -> ClusterExecutor:
        """The same executor, with other resources, setup or import paths for what is submitted through this view.

        Raises what the constructor does.
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._whole = self._whole or self
        view._options = read_options("using", options, self._system.passes, self._options)
        view._check(view._options)
        return view

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> ClusterFuture[T]:
        """Have ``fn(*args, **kwargs)`` run on the cluster; returns its future at once.

        Raises:
            ArgumentError: (a TypeError) what cannot be sent there, naming it.
            ClosedError: (a RuntimeError) after `shutdown()`.
        """
        task = self._made(fn, args, kwargs)
        self._core.book.accept(task)
        self._core.start()
        return task

    def _made(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> ClusterFuture[T]:
        """The task of a call, which nobody knows yet."""
        core, options = self._core, self._options
        shelf = core.shelf(options.import_paths)
        try:
            function = shelf.function(fn)
            call = pack((args, kwargs)) if args or kwargs else b""
        except Exception as error:
            raise unpackable_arguments(
                call_name(fn), args, kwargs, error, fn, "make or open it inside the function"
            ) from error
        return ClusterFuture(core.book, next(core.numbers), function, shelf.setting(), call, options.terms)

    def map(
        self, fn: Callable[..., T], *iterables: Any, timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """The results of ``fn`` for the items of the iterables, in order.

        Args:
            fn: a function of as many arguments as there are iterables.
            iterables: of arguments; the shortest counts.
            timeout: seconds from now, after which asking for a result that is not there raises TimeoutError.
            chunksize: so many calls make one job, as with `tasks_per_job`.

        Raises what `submit` raises. An exception of a call is raised where its result would come.
        """
        if chunksize < 1:
            raise ChoiceError("chunksize must be >= 1.")
        deadline = None if timeout is None else time.monotonic() + timeout
        view = self if chunksize == 1 else self.using(tasks_per_job=chunksize)
        tasks = [view._made(fn, args, {}) for args in zip(*iterables, strict=False)]
        self._core.book.accept(*tasks)
        if tasks:
            self._core.start()
        tasks.reverse()
        return _results(tasks, deadline, self)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept nothing more. May be called again.

        Args:
            wait: return when all is over.
            cancel_futures: cancel what does not run yet, on the cluster too; the batch system is asked what does.

        A Ctrl-C while it waits cancels everything, unless the executor was made with ``on_exit="leave"``.
        """
        core = self._core
        core.book.close(f"cannot submit: {self.name} has been shut down")
        if cancel_futures:
            if threading.current_thread() not in core.threads:  # a callback: the look would wait for itself
                core.book.look_now(PATIENCE)
            core.cancel(core.book.all_open(waiting=True))
        if wait:
            try:
                core.join()
            except KeyboardInterrupt:
                core.interrupt()
                raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._core.book.close(f"cannot submit: {self.name} has been shut down")
            self._core.interrupt()
        self.shutdown()

    def _check(self, options: Options) -> None:
        """Have the batch system look at the options before there is anything to submit."""
        if options.import_paths and not self._system.shares_files:
            raise ChoiceError(
                "import_paths=...: jobs do not see the folders of this machine; have files carried to them, or install "
                "what they import where python=... is"
            )
        terms = options.terms
        self._system.check(
            Sheet(
                "check",
                range(1),
                ("true",),
                "/dev/null",
                "/",
                terms.resources,
                terms.setup,
                terms.env,
                terms.options,
                home=str(self._path),
            )
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot travel to another process; make one there")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} in {str(self.directory)!r}>"


def _results(tasks: list[ClusterFuture[T]], deadline: float | None, keep: ClusterExecutor) -> Iterator[T]:
    """The results of tasks, the last first; what is not handed out when nobody asks any more is cancelled."""
    try:
        while tasks:  # hold nothing that has been handed out
            yield tasks.pop().result(None if deadline is None else max(0.0, deadline - time.monotonic()))
    finally:
        keep._core.cancel(tasks)  # an executor that nobody holds goes on until here


class _Core:
    """What an executor and its views share; it lives until all is over."""

    def __init__(self, system: BatchSystem, path: Path, own: Mapping[str, Any]) -> None:
        if own["directory"] is None:
            make_folder(home(create=True) / path.parent.name)
        self.folder = Folder.create(path, carried=not system.shares_files)
        self.lock = KeptFolder(path)
        self.lock.lock()
        try:
            token = self.folder.token(system.name, lambda: files_for(self.folder))
            groups = self.folder.groups()
            last = max((call.number for group in groups for call in group.read().calls), default=-1)
        except BaseException:  # it is not ours, or cannot be trusted
            self.lock.unlock()
            raise
        self.numbers = itertools.count(1 + last)
        self.on_exit: Literal["cancel", "leave"] = own["on_exit"]
        pace = Pace() if own["poll_interval"] is None else Pace(float(own["poll_interval"]))
        self.book = Book(system.clock, pace)
        self.book.most_queued = own["max_queued"]
        python = os.path.abspath(own["python"] or sys.executable)
        self._shelves: dict[tuple[str, ...], Shelf] = {}
        first = groups[-1].number + 1 if groups else 0
        self.controller = Controller(self.book, system, self.folder, (python, str(path / "worker.py")), token, first)
        self.controller.limit(own["max_array_size"])
        self.watcher = Watcher(self.book, system, keep_logs=own["keep_logs"])
        self.threads: list[threading.Thread] = []
        self._serving = 0  # of these, those that have not ended
        self._starting = threading.Lock()

    def shelf(self, import_paths: tuple[str, ...]) -> Shelf:
        """What is known of functions and settings, with these paths before the others."""
        shelf = self._shelves.get(import_paths)
        if shelf is None:
            carried = self.folder.carried
            pack_one = partial(_packed, import_paths=import_paths, carried=carried)
            shelf = self._shelves.setdefault(import_paths, Shelf(lambda value: (pack_one(value), [])))
        return shelf

    def start(self) -> None:
        """See to it that the threads run."""
        if self.threads:
            return
        with self._starting:
            if not self.threads:
                self._serving = 2
                for name, run in (("submits", self.controller.run), ("listens", self.watcher.run)):
                    # Daemons, so that what never ends cannot keep the process; the hook at exit waits for them.
                    thread = threading.Thread(
                        target=self._serve, args=(run,), name=f"weft-{self.folder.name}-{name}", daemon=True
                    )
                    thread.start()
                    self.threads.append(thread)

    def _serve(self, run: Callable[[], None]) -> None:
        """A thread, until all is over; the last one says so to those who come later."""
        run()
        with self._starting:
            self._serving -= 1
            if self._serving:
                return
        if not self.book.left:
            self.folder.end()
        self.lock.unlock()

    def join(self) -> None:
        """Until all is over."""
        for thread in self.threads:
            thread.join()
        self.lock.unlock()

    def interrupt(self) -> None:
        """After a Ctrl-C: cancel everything, or leave it."""
        if self.on_exit == "leave":
            self.book.leave()
            return
        self.cancel(self.book.all_open())

    def cancel(self, tasks: Iterable[ClusterFuture[Any]]) -> None:
        """Cancel these."""
        with self.book.together():
            for task in tasks:
                task.cancel()

    def forget(self) -> None:
        """In the child of a fork, where the threads are not."""
        self.book.closed = "this executor belongs to the process that was forked; make a new one in the child"
        self.threads.clear()


def _packed(value: Any, import_paths: tuple[str, ...], *, carried: bool) -> bytes:
    """A function; or a setting, in the form that the worker reads in steps."""
    from weft.executors.worker import Setting

    if type(value) is not Setting:
        return pack(value)
    if carried:  # what is here is not there
        return dumps((None, None, pack(value.context)), 5)
    here = value.folder or os.sep
    path = [os.path.join(here, entry) for entry in value.path]  # "" is the working directory
    path = [*import_paths, *(entry for entry in path if entry not in import_paths)]
    return dumps((value.folder, path, pack(value.context)), 5)


def _check_own(where: str, own: Mapping[str, Any]) -> None:
    for word in ("max_array_size", "max_queued"):
        count(where, word, own[word])
    if not isinstance(own["keep_logs"], bool):
        raise ArgumentError(f"{where}(keep_logs=...) must be True or False, got {own['keep_logs']!r:.60}")
    if own["on_exit"] not in ("cancel", "leave"):
        raise ChoiceError(f"{where}(on_exit=...) must be 'cancel' or 'leave', got {own['on_exit']!r:.60}")
    poll = own["poll_interval"]
    if poll is not None:
        if isinstance(poll, bool) or not isinstance(poll, (int, float)):
            raise ArgumentError(f"{where}(poll_interval=...) must be a number of seconds, got {poll!r:.60}")
        if not poll > 0:
            raise ChoiceError(f"{where}(poll_interval=...) must be more than 0 seconds, got {poll!r}")
    if own["name"] is not None and not isinstance(own["name"], str):
        raise ArgumentError(f"{where}(name=...) must be some text, got {own['name']!r:.60}")


def _directory(given: Any, name: str) -> Path:
    if given is not None:
        return Path(os.path.abspath(os.fspath(given)))
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return home() / "executors" / f"{stamp}-{safe_name(name)}-{os.urandom(3).hex()}"


# What becomes of executors that nobody shut down -------------------------------------------------------------


def _let_go(core: _Core) -> None:
    core.book.close("cannot submit: the executor is no more")


def _end_all(cores: Sequence[_Core], interrupted: bool) -> None:
    """At exit: what was submitted is waited for, as in the standard library, or left; or cancelled, after a Ctrl-C."""
    for core in cores:
        core.book.close("cannot submit: the interpreter is about to end")
        if interrupted or core.on_exit == "leave":
            core.interrupt()
    for core in cores:
        try:
            core.join()
        except KeyboardInterrupt:
            core.interrupt()
            core.join()


_living: Living[_Core] = Living(_end_all, lambda core: core.forget())
