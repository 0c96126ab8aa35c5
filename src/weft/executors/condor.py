"""Calls as jobs of HTCondor."""

from __future__ import annotations

from typing import Any

from weft.errors import ArgumentError
from weft.executors.cluster.condor import CondorSystem
from weft.executors.cluster.executor import ClusterExecutor

__all__ = ["CondorExecutor"]


class CondorExecutor(ClusterExecutor):
    """A `concurrent.futures.Executor` that runs calls as jobs of HTCondor; what comes together is one submission.

    ::

        with CondorExecutor(cpus=4, memory="8GB", time="1h", accounting_group="physics") as ex:
            results = list(ex.map(simulate, seeds))

    Args:
        transfer: nodes do not see the files of this machine: functions and arguments are carried there, and results and
            logs back, by HTCondor. A node then needs only a Python of the version of this one, see `python`. Default:
            False: folder and interpreter are on a file system that all share.
        options: those of `ClusterExecutor`. Words such as ``request_disk="2GB"`` become lines of the submit
            description; anything else goes into ``setup=['#CONDOR +ProjectName = "x"', "module load gcc"]``.

    Raises:
        ChoiceError: (a ValueError) there is no HTCondor here, or an option cannot be.
    """

    def __init__(self, *, transfer: bool = False, **options: Any) -> None:
        if not isinstance(transfer, bool):
            raise ArgumentError(f"CondorExecutor(transfer=...) must be True or False, got {transfer!r:.60}")
        super().__init__(CondorSystem(transfer=transfer), **options)
