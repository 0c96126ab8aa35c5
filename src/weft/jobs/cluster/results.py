"""Results of other jobs among the arguments of one: while they travel, and where they are needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.payload import unpack
from weft.rundir.outcomes import read_outcomes
from weft.tree import form_of, rebuild, remember

if TYPE_CHECKING:
    from weft.jobs.bind import Arguments
    from weft.jobs.past import Past
    from weft.jobs.records import Record

__all__ = ["Taken", "filled_in", "taken_out"]

LOOK = 0.5  # seconds between looks for a result that is not there yet

Find = Callable[[str, "int | None"], Any]


class Taken:
    """Stands for the result of a job, while it travels."""

    __slots__ = ("key", "places")

    def __init__(self, key: str, places: Sequence[int] | None) -> None:
        self.key = key
        self.places = places  #: None: it has no array.

    def __reduce__(self) -> tuple[Any, ...]:
        return Taken, (self.key, self.places)


def taken_out(arguments: Arguments, records: Mapping[Any, Record]) -> tuple[Any, Any]:
    """The arguments of a job, with a `Taken` in the place of each job."""
    from weft.jobs.bind import with_results

    def taken(job: Any) -> Taken:
        record = records[job]
        return Taken(record.key, None if record.elements is None else record.places)

    args, kwargs = with_results(arguments, taken)
    return args, dict(kwargs)


def filled_in(run: str, data: tuple[Any, Any], takes: Sequence[str], patience: float) -> tuple[Any, Any]:
    """The arguments with the results themselves. Raises TaskError where one is not to be had.

    Args:
        run: the folder.
        data: what `taken_out` has made.
        takes: the keys of the jobs in it.
        patience: seconds for results to be seen on this machine, which another one has written.
    """
    if not takes:
        return data
    end = time.monotonic() + patience
    while True:
        find = _finder(Path(run), set(takes))
        try:
            args, kwargs = rebuild(list(data), partial(_value, find), _holds_nothing, {}, fresh=False)
        except _NotThereError as error:
            if time.monotonic() > end:
                from weft.errors import TaskError

                raise TaskError(f"the result of {error} cannot be seen on this machine, in {run}") from None
            time.sleep(LOOK)
            continue
        return args, kwargs


class _NotThereError(Exception):
    """The result of this job is not there."""


def _finder(run: Path, keys: set[str]) -> Find:
    outcomes = read_outcomes(run, keys)
    past: Past | None = None

    def find(key: str, place: int | None) -> Any:
        nonlocal past
        outcome = outcomes.get((key, place))
        if outcome is not None and outcome.ok:
            return unpack(outcome.read())
        from weft.jobs.past import NOT_KNOWN, Past  # perhaps an earlier run has made it
        from weft.rundir import RunFolder

        past = past or Past(RunFolder(run), keys)
        value = past.value(key, place)
        if value is NOT_KNOWN:
            raise _NotThereError(key)
        return value

    return find


def _value(find: Find, item: Any) -> Any:
    if type(item) is not Taken:
        return item
    if item.places is None:
        return find(item.key, None)
    return [find(item.key, place) for place in item.places]


@remember
def _holds_nothing(kind: type) -> bool:
    return form_of(kind) is None and kind is not Taken
