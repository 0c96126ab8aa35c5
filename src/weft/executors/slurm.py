"""Calls as jobs of Slurm."""

from __future__ import annotations

from typing import Any

from weft.executors.cluster.executor import ClusterExecutor
from weft.executors.cluster.slurm import SlurmSystem

__all__ = ["SlurmExecutor"]


class SlurmExecutor(ClusterExecutor):
    """A `concurrent.futures.Executor` that runs calls as jobs of Slurm; what comes together goes as one job array.

    ::

        with SlurmExecutor(cpus=4, memory="8GB", time="1h", partition="debug") as ex:
            results = list(ex.map(simulate, seeds))

    Args:
        options: those of `ClusterExecutor`. Words such as ``partition="debug"`` become options of sbatch; anything
            else goes into ``setup=["#SBATCH --mail-type=END", "module load gcc"]``. Time limits are whole minutes on
            Slurm: it is asked for the next one, and the worker ends a task when its own time is over.

    Raises:
        ChoiceError: (a ValueError) there is no Slurm here, or an option cannot be.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(SlurmSystem(), **options)
