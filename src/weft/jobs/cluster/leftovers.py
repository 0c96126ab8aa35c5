"""What a driver that was killed has left in the queue of a batch system."""

from __future__ import annotations

from pathlib import Path

from weft.errors import ChoiceError, RunInUse
from weft.executors.cluster.folder import Folder
from weft.executors.cluster.system import Busy
from weft.jobs.cluster.systems import made_system

__all__ = ["EXECUTOR", "end_leftovers"]

EXECUTOR = "executor-"  # how the folders of executors begin, in that of their run


def end_leftovers(run: Path) -> None:
    """Cancel what executors of a run have in the queue; the run has no driver any more.

    What would still begin there finds that its run has another driver, and ends; but it need not wait for that.
    Raises RunInUse where the batch system does not answer.
    """
    for path in sorted(path for path in run.glob(f"{EXECUTOR}*") if (path / "executor.json").exists()):
        folder = Folder(path)
        try:
            system = made_system(folder.system())
        except ChoiceError:  # one of its driver's own, or not to be had here
            continue
        try:
            found = [group.job() or system.find(group.read().name) for group in folder.groups()]
            jobs = [job for job in found if job is not None]
            if jobs:
                system.cancel(dict.fromkeys(jobs))
        except Busy as busy:
            raise RunInUse(
                f"run {run.name} cannot be taken over: {system.name}, where it may have jobs, does not answer: {busy}",
                run=run.name,
            ) from None
