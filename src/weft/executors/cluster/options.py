"""The keyword options of a cluster executor, read in one place."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from weft.errors import ArgumentError, ChoiceError
from weft.executors.cluster.future import Terms
from weft.resources import Resources, read_environment

__all__ = ["OWN", "Options", "count", "read_options", "refuse_foreign"]

#: What a view made by `using` may change, besides the resources, with its default.
PER_TASK: Mapping[str, Any] = {"setup": (), "env": None, "import_paths": (), "tasks_per_job": 1}
#: What belongs to the executor as a whole.
OWN: Mapping[str, Any] = {
    "directory": None,
    "keep_logs": True,
    "max_array_size": None,
    "max_queued": None,
    "name": None,
    "on_exit": "cancel",
    "poll_interval": None,
    "python": None,
}

#: How lines of setup begin that are for a batch system itself, and for which.
DIRECTIVES: Mapping[str, str] = {"#SBATCH": "Slurm", "#CONDOR": "HTCondor"}


class Options(NamedTuple):
    """What tasks ask for that are submitted from now on."""

    terms: Terms
    import_paths: tuple[str, ...]


def read_options(
    where: str, words: Mapping[str, Any], passes: Collection[str], before: Options | None = None
) -> Options:
    """Resources, and what else a task asks for; on top of what was asked `before`.

    Args:
        where: for messages, such as ``"using"``.
        words: what was written.
        passes: of these, what the batch system takes as it is.
        before: see above.

    Raises:
        ArgumentError: (a TypeError) an unknown option, or a value of the wrong kind.
        ChoiceError: (a ValueError) a value that cannot be.
    """
    mine = {word: value for word, value in words.items() if word in PER_TASK}
    passed = {word: value for word, value in words.items() if word in passes}
    rest = {word: value for word, value in words.items() if word not in mine and word not in passed}
    if unknown := [word for word in rest if word not in (*Resources.options(), "ram", "timelimit")]:
        raise ArgumentError(_unknown(where, unknown[0], passes))
    resources = Resources.read(where, **rest)
    old = before or Options(Terms(Resources(), (), (), (), 1), ())
    terms = old.terms
    setup = _lines(where, mine["setup"]) if "setup" in mine else terms.setup
    env = tuple(read_environment(where, mine["env"] or {}).items()) if "env" in mine else terms.env
    paths = _paths(where, mine["import_paths"]) if "import_paths" in mine else old.import_paths
    each = count(where, "tasks_per_job", mine.get("tasks_per_job", terms.each))
    options = tuple({**dict(terms.options), **passed}.items())
    return Options(Terms(terms.resources.merged(resources), setup, options, env, each or 1), paths)


def refuse_foreign(setup: Iterable[str], own: str) -> None:
    """Raise ChoiceError for lines of setup that are for another batch system; `own`: how those for this one begin."""
    for line in setup:
        for mark, system in DIRECTIVES.items():
            if mark != own and line.startswith(mark):
                raise ChoiceError(f"setup: {line!r:.60} is for {system}; lines for {DIRECTIVES[own]} begin with {own}")


def count(where: str, word: str, value: Any) -> int | None:
    """A whole number from 1 up, or None."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ArgumentError(f"{where}({word}=...) must be a whole number, got {value!r:.60}")
    if value < 1:
        raise ChoiceError(f"{where}({word}=...) must be at least 1, got {value}")
    return value


def _unknown(where: str, word: str, passes: Collection[str]) -> str:
    import difflib

    known = {**dict.fromkeys(Resources.options()), **PER_TASK, **OWN, **dict.fromkeys(passes)}
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = ", ".join(f"{name}={default!r}" for name, default in sorted(known.items()))
    return (
        f"{where} has no option {word!r}; {hint}options: {listed}; anything else of the batch system's goes into "
        "setup=, as a line of its own"
    )


def _lines(where: str, setup: Any) -> tuple[str, ...]:
    """Lines of a script, given as one text or as several."""
    if isinstance(setup, str):
        setup = setup.splitlines()
    if not isinstance(setup, Sequence) or not all(isinstance(line, str) for line in setup):
        raise ArgumentError(f"{where}(setup=...) must be lines of text, got {setup!r:.60}")
    return tuple(line for text in setup for line in text.splitlines())


def _paths(where: str, paths: Any) -> tuple[str, ...]:
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    if not isinstance(paths, Sequence) or not all(isinstance(path, (str, os.PathLike)) for path in paths):
        raise ArgumentError(f"{where}(import_paths=...) must be paths of folders, got {paths!r:.60}")
    return tuple(os.path.abspath(os.fspath(path)) for path in paths)
