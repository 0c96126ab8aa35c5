"""What earlier runs of a script know of its jobs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from weft.payload import unpack
from weft.rundir import Outcome, RunFolder, read_outcomes

__all__ = ["NOT_KNOWN", "Past", "is_over"]

OVER = ("finished", "cancelled")
TAIL = 4096  # bytes of the events in which the last one is looked for


class _NotKnown:
    """In place of a result that nobody knows."""


NOT_KNOWN = _NotKnown()


def is_over(run: RunFolder) -> bool:
    """Whether a run has come to its end, or was cancelled; else its driver lives, or was cut short."""
    try:
        with run.journal.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL))
            lines = file.read().splitlines()
    except OSError:
        return False
    try:
        last = json.loads(lines[-1]) if lines else None
    except ValueError:  # torn
        return False
    return isinstance(last, dict) and last.get("run") in OVER


class Past:
    """A run, and those before it that made what was done in it already.

    Args:
        folder: of the run.
        keys: of the jobs that are of interest. Default: all.
    """

    def __init__(self, folder: RunFolder, keys: Collection[str] | None = None) -> None:
        self.folder = folder
        self._of = keys

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the run was said to be."""
        return self.folder.facts()

    @cached_property
    def outcomes(self) -> Mapping[tuple[str, int | None], Outcome]:
        """What was recorded in it."""
        return read_outcomes(self.folder.path, self._of)

    @cached_property
    def jobs(self) -> dict[str, dict[str, Any]]:
        """What was said of each of its jobs, by key."""
        return {job["key"]: job for job in self.facts.get("jobs", ())}

    def success(self, key: str, place: int | None) -> Outcome | None:
        """The result of a job, or an element, as it was recorded; by the latest run of these that made it."""
        outcome = self.outcomes.get((key, place))
        if outcome is not None:
            return outcome if outcome.ok else None
        before = self.before(key)
        return None if before is None else before.success(key, place)

    def value(self, key: str, place: int | None) -> Any:
        """The result itself, or NOT_KNOWN."""
        outcome = self.success(key, place)
        return NOT_KNOWN if outcome is None else unpack(outcome.read())

    def source(self, key: str) -> str | None:
        """The name of the latest run of these that recorded anything of a job."""
        if key in self._keys:
            return self.folder.name
        before = self.before(key)
        return None if before is None else before.source(key)

    def before(self, key: str) -> Past | None:
        """The run before this one that made of a job what was done already, if it is still there."""
        name = self.jobs.get(key, {}).get("from")
        if not isinstance(name, str) or name in (self.folder.name, "") or name.startswith(".") or "/" in name:
            return None
        if name not in self._earlier:
            path = self.folder.path.parent / name
            self._earlier[name] = Past(RunFolder(path), self._of) if path.is_dir() else None
        return self._earlier[name]

    @cached_property
    def _earlier(self) -> dict[str, Past | None]:
        return {}

    @cached_property
    def _keys(self) -> set[str]:
        return {key for key, _ in self.outcomes}
