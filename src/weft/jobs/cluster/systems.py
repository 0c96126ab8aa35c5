"""Which batch system a run is on, and how to reach it from this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from weft.errors import ChoiceError

if TYPE_CHECKING:
    from weft.executors.cluster.system import BatchSystem
    from weft.rundir import RunFolder

__all__ = ["DETACHED", "is_detached", "made_system", "remember_system", "system_of"]

DETACHED = "detached"  # in what a run says of itself: the name of the batch system that it is on

_of_runs: WeakValueDictionary[str, Any] = WeakValueDictionary()  # those that the user has made, by the run's folder


def made_system(name: str) -> BatchSystem:
    """The batch system of this name. Raises ChoiceError where it is not to be had here."""
    if name == "slurm":
        from weft.executors.cluster.slurm import SlurmSystem

        return SlurmSystem()
    if name == "condor":
        from weft.executors.cluster.condor import CondorSystem

        return CondorSystem()
    raise ChoiceError(f"there is no batch system {name!r} here")


def remember_system(folder: RunFolder, system: BatchSystem) -> None:
    """This run is on this very one."""
    _of_runs[str(folder.path)] = system


def system_of(folder: RunFolder) -> BatchSystem | None:
    """The batch system that a run is on; None where it cannot be reached from here."""
    known: BatchSystem | None = _of_runs.get(str(folder.path))
    if known is not None:
        return known
    try:
        return made_system(folder.facts().get(DETACHED, ""))
    except ChoiceError:
        return None


def is_detached(folder: RunFolder) -> bool:
    """Whether a batch system runs it alone."""
    return DETACHED in folder.facts()
