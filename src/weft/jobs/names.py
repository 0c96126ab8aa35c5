"""What jobs are called in a run, for people and for files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weft.rundir.place import safe_name

if TYPE_CHECKING:
    from weft.jobs.node import Job

__all__ = ["Named", "keys_of", "names_of"]


class Named:
    """What the jobs of a run are called."""

    def __init__(self, order: Sequence[Job[..., Any]]) -> None:
        self.order = order
        self.names = names_of(order)
        #: File names.
        self.keys = dict(zip(order, keys_of(order, self.names), strict=True))


def names_of(jobs: Sequence[Job[..., Any]]) -> list[str]:
    """The names of jobs, each only once: where several have one name, the later ones have a number after it."""
    taken: set[str] = set()
    counts: dict[str, int] = {}
    found = []
    for job in jobs:
        name = job.name
        while name in taken:
            counts[job.name] = counts.get(job.name, 1) + 1
            name = f"{job.name}-{counts[job.name]}"
        taken.add(name)
        found.append(name)
    return found


def keys_of(jobs: Sequence[Job[..., Any]], names: Sequence[str]) -> list[str]:
    """File names for jobs with these names: unique also where upper and lower case are one.

    ``fit.3`` is also what element 3 of the array ``fit`` is called, so a job of that name beside it gets another one.
    """
    taken: set[str] = set()
    keys = []
    for name in names:
        key = safe_name(name)
        lower = key.lower()
        if lower in taken:
            key = _apart(key, name)
            lower = key.lower()
        taken.add(lower)
        keys.append(key)
    arrays = {key.lower() for key, job in zip(keys, jobs, strict=True) if job.elements is not None}
    for place, key in enumerate(keys) if arrays else ():
        match = _ELEMENT.fullmatch(key.lower())
        if match and match[1] in arrays:
            keys[place] = _apart(key, names[place])
    return keys


_ELEMENT = re.compile(r"(.+)\.\d+")


def _apart(key: str, name: str) -> str:
    return f"{key}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
