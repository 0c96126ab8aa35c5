"""Procs and protos of a script, and what may be done with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, Unpack, overload

from weft.engine.states import IDLE
from weft.errors import ChoiceError
from weft.payload import call_name
from weft.procs.core import Core, flat
from weft.procs.declare import ProcOptions, ProtoOptions
from weft.procs.failures import failed, process_error
from weft.procs.names import check_text
from weft.procs.proc import Proc as OneProc
from weft.procs.proc import Proto as OneProto
from weft.procs.running import Happened

__all__ = ["ProcManager"]

F = TypeVar("F", bound=Callable[..., Any])


class ProcManager:
    """Named procs, and their scheduling: what the functions of `weft.procs` do for the default manager.

    Managers are independent of each other: each has names, locks, waves and options of its own.
    """

    def __init__(self) -> None:
        self._core = Core()

    # Defining -------------------------------------------------------------------------------------------------

    @overload
    def Proc(self, name: F, /) -> F: ...
    @overload
    def Proc(self, name: str, function: Callable[..., Any], /, **options: Unpack[ProcOptions]) -> OneProc: ...
    @overload
    def Proc(self, name: str | None = None, /, **options: Unpack[ProcOptions]) -> Callable[[F], F]: ...
    def Proc(self, name: Any = None, function: Any = None, /, **options: Any) -> Any:  # noqa: N802
        """Define a proc: ``@Proc``, ``@Proc("build", deps=[...])``, or ``Proc("build", function)``, which returns it.

        Args:
            name: any text without placeholders. Default: the function's name.
            deps: what it runs after: names, which may have placeholders that its own args fill; functions that return
                a name or a list of names; `NO_FAILURES`, `AFTER_ALL`.
            rdeps: what it runs before: names or patterns; `WhenScheduled`, `WhenTargetScheduled`.
            locks: names of locks that it holds while it runs, or a dict of how many of each.
            now: start it as soon as it is defined.
            args: what the function is called with, by the names of its parameters.
            timeout: seconds, or text such as ``"10m"``: it is stopped after that, and has failed.
            wave: it starts when all wanted procs of lower waves have ended; default: 0.
            retries: so many further tries after a failure, or a dict by cause.
            executor: a `concurrent.futures.Executor` that runs it. Default: that of `set_options`.
            resources: such as ``{"cpus": 4, "memory": "8GB"}``.

        The function gets a `ProcContext` and the args, as far as it has parameters for them, and is returned unchanged.

        Raises:
            ArgumentError: (a TypeError) an option of the wrong kind, or one that is not known.
            ChoiceError: (a ValueError) a name that is taken or has placeholders, or a value that cannot be.
        """
        if callable(name) and function is None and not options:
            self._core.define_proc(call_name(name), name, {})
            return name
        if "name" in options:
            name = options.pop("name") if name is None else name
        if function is not None:
            return self._core.define_proc(name, function, options)
        if name is not None:
            check_text(name, "@Proc")

        def decorate(function: F) -> F:
            self._core.define_proc(call_name(function) if name is None else name, function, options)
            return function

        return decorate

    @overload
    def Proto(self, name: F, /) -> F: ...
    @overload
    def Proto(self, name: str, function: Callable[..., Any], /, **options: Unpack[ProtoOptions]) -> OneProto: ...
    @overload
    def Proto(self, name: str | None = None, /, **options: Unpack[ProtoOptions]) -> Callable[[F], F]: ...
    def Proto(self, name: Any = None, function: Any = None, /, **options: Any) -> Any:  # noqa: N802
        """Define a pattern of procs: ``@Proto("deploy::[env]", arg_choices={"env": ["dev", "prod"]})``.

        A placeholder ``[env]`` stands for one or more characters without the separator, ``::``; at the end of the
        pattern for all the rest. Its text is cast to what the function's parameter is annotated with.

        Args:
            name: the pattern. Default: the function's name.
            arg_choices: by parameter, a list of the values that it may have, or a function that returns one. ``*`` and
                ``?`` stand for all of them that match.
            args: defaults for parameters.
            options: the others are those of `Proc`.

        Raises what `Proc` raises.
        """
        if callable(name) and function is None and not options:
            self._core.define_proto(call_name(name), name, {})
            return name
        if "name" in options:
            name = options.pop("name") if name is None else name
        if function is not None:
            return self._core.define_proto(name, function, options)
        if name is not None:
            check_text(name, "@Proto")

        def decorate(function: F) -> F:
            self._core.define_proto(call_name(function) if name is None else name, function, options)
            return function

        return decorate

    def create(self, name: str, proc_name: str | None = None, **params: Any) -> list[str]:
        """Make procs out of a proto, without starting them; returns their names.

        Args:
            name: of a proc that is there; or a name that one proto matches, such as ``build::prod``; or the pattern of
                a proto, with `params` for its placeholders. ``*`` and ``?`` stand for choices.
            proc_name: another name for the new proc.
            params: values of the function's parameters.

        Raises:
            ArgumentError: (a TypeError) a parameter that is not there.
            ChoiceError: (a ValueError) a name that is not known, or a value that cannot be.
        """
        return self._core.create(name, params, proc_name)

    # Starting -------------------------------------------------------------------------------------------------

    def start(self, *names: Any) -> None:
        """Have procs run, with all that they depend on. Starting one twice runs it once.

        Args:
            names: of procs, or lists of names; procs that a proto makes are made on the way.

        Raises, and starts nothing:
            ChoiceError: (a ValueError) an unknown name; a target of ``rdeps`` that has run already; a wave too high.
            CycleError: (a ValueError) procs that wait for each other, with the path.
        """
        self._core.start_names(flat(names, "start"))

    def run(self, name: str, **params: Any) -> list[str]:
        """`create` and `start`; returns the names."""
        return self._core.run(name, params)

    def wait(self, *names: Any) -> None:
        """Return when these procs have ended.

        Raises:
            ProcessError: (an ExceptionGroup) some of them failed.
            ChoiceError: (a ValueError) a name that is not known, or of a proc that nobody has started.
        """
        self._core.check_here()
        procs = [self._core.known(name, "wait") for name in flat(names, "wait")]
        for proc in procs:
            if proc._state is IDLE:
                raise ChoiceError(f"wait: {proc.name!r} has not been started, so it would never end; start it first")
        self._core.wait(procs)
        if bad := failed(procs):
            raise process_error(bad)

    def wait_for_all(self, exception_on_failure: bool = True) -> bool:
        """Return when all procs that were started have ended: True where none has failed.

        Args:
            exception_on_failure: raise ProcessError, an ExceptionGroup, where one has failed. Default: True.
        """
        self._core.check_here()
        self._core.wait(None)
        bad = failed(self.get_procs().values())
        if bad and exception_on_failure:
            raise process_error(bad)
        return not bad

    def wait_clear(self, exception_on_failure: bool = False) -> bool:
        """`wait_for_all`, then `clear`."""
        try:
            return self.wait_for_all(exception_on_failure)
        finally:
            self.clear()

    def clear(self) -> None:
        """Forget all procs and protos; what runs is stopped. Options and params stay."""
        self._core.check_here()
        self._core.clear()

    # Looking --------------------------------------------------------------------------------------------------

    def results(self) -> dict[str, Any]:
        """By name, what the procs that have succeeded returned."""
        return {name: proc.output for name, proc in self.get_procs().items() if proc.state.is_success}

    def get_procs(self) -> dict[str, OneProc]:
        """All procs by name, in the order in which they were defined."""
        with self._core.lock:
            return dict(self._core.registry.procs)

    def get_protos(self) -> dict[str, OneProto]:
        """All protos by their patterns."""
        with self._core.lock:
            return dict(self._core.registry.protos)

    @property
    def log_directory(self) -> Path:
        """The folder of the logs; a new one for temporary files, unless `set_options` says otherwise."""
        return self._core.folder()

    def observe(self, observer: Callable[[Happened], object]) -> Callable[[], None]:
        """Call `observer` with what happens, see `Happened`: each begin and end; returns a function that ends this."""
        return self._core.observers.add(observer)

    # Options --------------------------------------------------------------------------------------------------

    def set_params(self, **params: Any) -> None:
        """Values that every proc finds in ``context.params``."""
        with self._core.lock:
            self._core.params.update(params)

    def set_options(self, **options: Any) -> None:
        """Change options; one that is not given keeps its value.

        Args:
            parallel: so many procs at a time; default: 100. Procs that declare cpus share those of this machine.
            mode: ``"mp"``: each proc in a process of its own (default); ``"single"``: one after the other in this
                process.
            executor: a `concurrent.futures.Executor` that runs all procs.
            locks: how many may hold a lock at a time, by its name; default: one.
            log_directory: the folder of the logs.
            name_param_separator: between a placeholder and what follows; default: ``"::"``. For protos that are
                defined from now on.
            allow_missing_deps: wait for dependencies that have not been defined; default: True.
            full_log_on_failure: show all of the log of a failed proc, and not only what tells most; default: False.
            report: print a line when a proc begins and ends, and a summary; default: True.

        Raises:
            ArgumentError: (a TypeError) an unknown option, or a value of the wrong kind.
            ChoiceError: (a ValueError) a value that cannot be.
            ClosedError: (a RuntimeError) one that cannot change while procs run.
        """
        self._core.change(options)
