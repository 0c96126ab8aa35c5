"""Makes of a proc that may start what runs it, where it is to run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from weft.errors import StorageError
from weft.procs.attempt import Attempt
from weft.procs.call import Call
from weft.procs.channel import Channel, Far, Near
from weft.procs.context import Facts, Parent
from weft.procs.options import Options
from weft.procs.places import Elsewhere, OwnProcesses, Place
from weft.procs.proc import Proc
from weft.procs.threads import Threads
from weft.rundir import safe_name

__all__ = ["Launcher"]


class Launcher:
    """The places of one run, and the logs.

    Args:
        lock: the manager's.
        options: where procs run that do not say it.
        params: of `set_params`; as they are when a proc starts.
        answer: does what a running proc asks for.
        folder: for logs.
    """

    def __init__(
        self, lock: Any, options: Options, params: Mapping[str, Any], answer: Callable[..., Any], folder: Path
    ) -> None:
        self._lock = lock
        self._options = options
        self._params = params
        self._answer = answer
        self._folder = folder
        self._places: dict[Any, Place] = {}
        self._channel: Channel | None = None

    def shares_cpus(self, executor: Executor | None) -> bool:
        """Whether the cpus that procs there declare are those of this machine, and are shared out by us."""
        return isinstance(self.place(executor), OwnProcesses)

    def close(self, *, at_once: bool) -> None:
        """Nothing more comes; return when the processes are gone."""
        for place in self._places.values():
            place.close(at_once=at_once)
        if self._channel is not None:
            self._channel.close()

    def place(self, executor: Executor | None) -> Place:
        """Where procs with this `executor` run."""
        with self._lock:
            key: Any = executor or self._options.executor or self._options.mode
            if key not in self._places:
                made: Place
                if isinstance(key, Executor):
                    made = Elsewhere(key)
                else:
                    made = OwnProcesses() if key == "mp" else Threads()
                self._places[key] = made
            return self._places[key]

    def attempt(self, proc: Proc) -> Attempt:
        """The work of a proc, not begun yet. Raises StorageError."""
        declaration = proc._declaration
        place = self.place(declaration.executor)
        proc._log_path = path = self._folder / f"{safe_name(proc.name)}.log"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StorageError(f"cannot write the log {path}: {error.strerror}") from error
        with self._lock:
            deps = [dep for dep in proc._deps.values() if dep is not None]
            params = dict(self._params)
        facts = Facts(
            proc.name,
            params,
            dict(proc.args),
            {dep.name: dep._output for dep in deps},
            [dep.name for dep in deps if dep._changed],
            bool(deps),
        )
        call = Call(declaration.function, facts, self._parent(place), str(path), for_good=place.for_good)
        return Attempt(place, call, declaration.resources, str(path))

    def _parent(self, place: Place) -> Parent:
        if place.shares:
            return Near(self._answer)
        if self._channel is None:
            self._channel = Channel(self._answer)
        return Far(self._channel.address)
