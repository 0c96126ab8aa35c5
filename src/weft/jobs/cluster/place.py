"""A batch system as a place where jobs run: what each job asks for there, and the executor of a run with a driver."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.errors import ArgumentError, ChoiceError
from weft.executors.cluster.options import OWN, Options, read_options
from weft.executors.cluster.system import Sheet
from weft.jobs.backends import Place
from weft.jobs.cluster.leftovers import EXECUTOR
from weft.jobs.places import refused

if TYPE_CHECKING:
    from weft.executors import ClusterExecutor
    from weft.executors.cluster.future import Terms
    from weft.executors.cluster.system import BatchSystem
    from weft.jobs.call import JobCall
    from weft.jobs.node import Job

__all__ = ["Cluster"]


class Cluster(Place):
    """A batch system.

    Args:
        system: it.
        options: what jobs ask for that do not say so themselves; and, for a run with a driver, of its executor.
        executor: of the user's; None: it is made when there is a driver that needs it.
    """

    retries = True

    def __init__(
        self, system: BatchSystem, options: Mapping[str, Any], executor: ClusterExecutor | None = None
    ) -> None:
        where = f'schedule(backend="{system.name}")'
        self.system = system
        self.given = executor is not None
        self._own = {word: value for word, value in options.items() if word in OWN}
        rest = {word: value for word, value in options.items() if word not in OWN}
        self._options = read_options(where, rest, system.passes) if executor is None else executor._options
        self._executor = executor
        self._views: dict[Terms, ClusterExecutor] = {}

    def terms(self, job: Job[..., Any]) -> Terms:
        """What a job asks for."""
        spec, base = job.spec, self._options.terms
        lines = [*base.setup, *spec.setup]
        return base._replace(
            resources=base.resources.merged(spec.resources),
            # Directives come first, whoever has said them.
            setup=tuple([line for line in lines if line.startswith("#")] + [line for line in lines if line[:1] != "#"]),
            options=tuple({**dict(base.options), **spec.settings}.items()),
            env=tuple({**dict(base.env), **spec.env}.items()),
        )

    @property
    def python(self) -> str | None:
        """The interpreter that runs jobs; None: this one."""
        python: str | None = self._own.get("python")
        return python

    def check(self, job: Job[..., Any], call: JobCall) -> None:
        terms = self.terms(job)
        try:
            self.system.check(
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
                    job.spec.throttle,
                )
            )
        except (ArgumentError, ChoiceError) as error:
            raise type(error)(f"{job.name}: {error}") from None
        call.packed()

    # For a run with a driver

    def begin(self, run: Path) -> None:
        """The run is about to begin, in this folder."""
        self._own.setdefault("directory", run / f"{EXECUTOR}{os.urandom(2).hex()}")

    def submit(self, call: Callable[..., Any], args: tuple[Any, ...], job: Job[..., Any]) -> Future[Any]:
        try:
            return self._view(job).submit(call, *args)
        except ArgumentError as error:
            if error.__cause__ is None:
                raise
            raise refused(job, args, error.__cause__) from error.__cause__

    def close(self, *, wait: bool, interrupted: bool) -> None:
        executor = self._executor
        if executor is None or self.given:
            return
        if interrupted:
            executor.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        else:
            executor.shutdown(wait=wait)

    def _view(self, job: Job[..., Any]) -> ClusterExecutor:
        if self._executor is None:
            from weft.executors import ClusterExecutor

            self._executor = ClusterExecutor(self.system, **self._own)
        # Its environment comes with the call, see `JobCall`.
        terms = self.terms(job)._replace(env=self._options.terms.env)
        view = self._views.get(terms)
        if view is None:
            view = self._views[terms] = self._executor.using()
            view._options = Options(terms, self._options.import_paths)
        return view
