"""A named process, and what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.engine.states import IDLE, State
from weft.procs.conditions import Special
from weft.procs.declare import Declaration

if TYPE_CHECKING:
    from weft.futures import ScheduledFuture

__all__ = ["Proc", "Proto"]


class Proto:
    """A pattern of procs. Made by ``@Proto``."""

    def __init__(self, declaration: Declaration) -> None:
        self._declaration = declaration
        self._patterns = declaration.named()

    @property
    def name(self) -> str:
        """The pattern, such as ``deploy::[env]``."""
        return self._declaration.pattern.text

    def __repr__(self) -> str:
        return f"<Proto {self.name!r}>"


class Proc:
    """One named process. Made by ``@Proc``, or out of a Proto.

    What begins with an underscore belongs to its manager, and is read and written under the manager's lock.
    """

    __slots__ = (
        "_after_all",
        "_changed",
        "_declaration",
        "_deps",
        "_error",
        "_generation",
        "_holds",
        "_launched",
        "_log_path",
        "_no_failures",
        "_output",
        "_reason",
        "_root",
        "_seat",
        "_state",
        "_task",
        "_texts",
        "_times",
        "_waits_for",
        "_work",
        "args",
        "name",
    )

    def __init__(
        self, name: str, declaration: Declaration, args: dict[str, Any], texts: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.args = args  #: What the function is called with, by the names of its parameters.
        self._declaration = declaration
        self._texts = texts or {}  # what its parameters are in its name
        self._state = IDLE
        self._reason = ""
        self._output: Any = None
        self._error: BaseException | None = None
        self._root: Proc | None = None  # the failed one that this one needed, directly or not
        self._changed = True  # whether it has anything new for those that depend on it
        self._log_path: Path | None = None
        self._deps: dict[str, Proc | None] = {}  # by name; None: it is missing. Known once it is wanted.
        self._no_failures = self._after_all = False
        self._task: ScheduledFuture[Any] | None = None
        self._holds: dict[str, int] = {}  # while it runs, also while it waits for others: locks, and what is as scarce
        self._generation = 0  # a task of an earlier one must not start
        self._launched = False
        self._work: Future[Any] | None = None
        self._seat: Any = None  # the place that it has taken again after a wait
        self._waits_for: tuple[Proc, ...] = ()  # while it waits for others
        self._times = [0.0, 0.0]  # when it began and ended

    @property
    def state(self) -> State:
        """Where it stands, see `ProcState`."""
        return self._state

    @property
    def reason(self) -> str:
        """Why it failed, was skipped or could not run; empty where there is nothing to say."""
        return self._reason

    @property
    def output(self) -> Any:
        """What its function returned; None before that."""
        return self._output

    @property
    def log_path(self) -> Path | None:
        """The file with what it wrote; None before it has started."""
        return self._log_path

    @property
    def seconds(self) -> float:
        """How long it has run."""
        began, ended = self._times
        return (ended or time.time()) - began if began else 0.0

    def _take_deps(self, deps: dict[str, Proc | None], specials: set[Special]) -> None:
        self._deps = deps
        self._no_failures = Special.NO_FAILURES in specials
        self._after_all = Special.AFTER_ALL in specials

    def __repr__(self) -> str:
        return f"<Proc {self.name!r} {self._state.value}>"
