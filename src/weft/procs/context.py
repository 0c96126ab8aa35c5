"""What a running proc knows and may ask for."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

__all__ = ["Facts", "Parent", "ProcContext"]


class Facts(NamedTuple):
    """What a proc is told when it starts."""

    proc_name: str
    params: dict[str, Any]
    args: dict[str, Any]
    results: dict[str, Any]
    changed_deps: list[str]
    has_deps: bool


class Parent(Protocol):
    """Whom a running proc asks: its manager, in this process or in the one that it was started from."""

    def ask(self, proc_name: str, verb: str, *words: Any) -> Any:
        """Have a verb done: ``create``, ``start``, ``wait`` or ``get_input``. Raises what that raises."""


class ProcContext:
    """What a proc's function gets as its first parameter.

    Attributes:
        proc_name: the name of the proc.
        params: of `set_params`.
        args: the values of its parameters.
        results: by name, what its dependencies returned; after `wait`, also what was waited for.
        changed_deps: the names of the dependencies that have anything new: all but those that raised
            `ProcNoChangeError`.
    """

    def __init__(self, facts: Facts, parent: Parent) -> None:
        self.proc_name = facts.proc_name
        self.params = facts.params
        self.args = facts.args
        self.results = facts.results
        self.changed_deps = facts.changed_deps
        self._has_deps = facts.has_deps
        self._parent = parent

    @property
    def deps_changed(self) -> bool:
        """Whether a dependency has anything new; True for a proc without dependencies."""
        return bool(self.changed_deps) or not self._has_deps

    def create(self, name: str, proc_name: str | None = None, **params: Any) -> list[str]:
        """Make procs, see `ProcManager.create`."""
        return list(self._parent.ask(self.proc_name, "create", name, proc_name, params))

    def start(self, *names: Any) -> None:
        """Start procs, see `ProcManager.start`."""
        self._parent.ask(self.proc_name, "start", names)

    def run(self, name: str, **params: Any) -> list[str]:
        """Make and start procs; returns their names."""
        names = self.create(name, **params)
        self.start(names)
        return names

    def wait(self, *names: Any) -> None:
        """Wait for other procs, which are started where nobody has; what they return is in `results` then.

        This proc's place among those that run is free meanwhile.

        Raises:
            ProcessError: (an ExceptionGroup) one of them failed.
            ChoiceError: (a ValueError) there is no proc of this name.
            DeadlockError: (a RuntimeError) one of them waits for this proc, or for what this proc holds.
        """
        self.results.update(self._parent.ask(self.proc_name, "wait", names))

    def get_input(self, message: str = "", password: bool = False) -> str:
        """Ask whoever sits at the terminal; returns the line. Other procs go on meanwhile.

        Args:
            message: is shown before the cursor.
            password: do not show what is typed.

        Raises EOFError where there is nobody to ask.
        """
        return str(self._parent.ask(self.proc_name, "get_input", message, password))

    def __repr__(self) -> str:
        return f"<ProcContext of {self.proc_name!r}>"
