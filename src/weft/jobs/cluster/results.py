"""Results of other jobs among the arguments of one: while they travel, and where they are needed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.errors import TaskError
from weft.jobs.bind import Arguments, with_results
from weft.jobs.past import NOT_KNOWN, Past
from weft.rundir import RunFolder
from weft.tree import form_of, rebuild, remember

if TYPE_CHECKING:
    from weft.jobs.records import Record

__all__ = ["Taken", "filled_in", "taken_out"]

LOOK = 0.5  # seconds between looks for a result that is not there yet


class Taken:
    """Stands for the result of a job, while it travels."""

    __slots__ = ("key", "name", "places")

    def __init__(self, key: str, name: str, places: Sequence[int] | None) -> None:
        self.key = key
        self.name = name
        self.places = places  #: None: it has no array.

    def __reduce__(self) -> tuple[Any, ...]:
        return Taken, (self.key, self.name, self.places)


def taken_out(arguments: Arguments, records: Mapping[Any, Record]) -> tuple[Any, Any]:
    """The arguments of a job, with a `Taken` in the place of each job."""

    def taken(job: Any) -> Taken:
        record = records[job]
        return Taken(record.key, record.name, None if record.elements is None else record.places)

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
        past = Past(RunFolder(Path(run)), set(takes))
        try:
            args, kwargs = rebuild(list(data), partial(_value, past), _holds_nothing, {}, fresh=False)
        except _NotThereError as error:
            if time.monotonic() > end:
                raise TaskError(f"the result of {error} cannot be seen on this machine, in {run}") from None
            time.sleep(LOOK)
            continue
        return args, kwargs


class _NotThereError(Exception):
    """The result of this job is not there."""


def _value(past: Past, item: Any) -> Any:
    if type(item) is not Taken:
        return item
    places = (None,) if item.places is None else item.places
    values = [past.value(item.key, place) for place in places]
    if any(value is NOT_KNOWN for value in values):
        raise _NotThereError(item.name)
    return values[0] if item.places is None else values


@remember
def _holds_nothing(kind: type) -> bool:
    return form_of(kind) is None and kind is not Taken
