"""Asks Slurm's commands, in an environment that leaves nothing open."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

from weft.executors.cluster.command import Commands
from weft.executors.cluster.slurm_text import read_config, tidy

__all__ = ["SlurmCommands", "asking", "submitting"]


class SlurmCommands(Commands):
    """Asks them."""

    def __init__(self, timeout: float) -> None:
        super().__init__(timeout, asking, tidy)
        self._configuration: dict[str, str] = {}

    def configuration(self) -> dict[str, str]:
        """How the cluster is set up; asked for once."""
        if not self._configuration:
            self._configuration = read_config(self.ask("scontrol", "show", "config"))
        return self._configuration

    def has_accounting(self) -> bool:
        """Whether `sacct` knows more than nothing."""
        kind = self.configuration().get("AccountingStorageType", "")
        kept = kind.startswith("accounting_storage/") and kind != "accounting_storage/none"
        return kept and shutil.which("sacct") is not None


# Their environment -------------------------------------------------------------------------------------------


def asking() -> dict[str, str]:
    """For commands that ask: plain English, all elements of long arrays, no format of the user's own."""
    return {**_ours(), "LC_ALL": "C", "SLURM_BITSTR_LEN": "0"}


def submitting(directives: Iterable[str]) -> dict[str, str]:
    """For sbatch, which hands it on to the job, and lets it go before what a script asks for.

    So defaults of the user's count, such as SBATCH_ACCOUNT, but where the script says it.

    Args:
        directives: the options that the script has, such as ``"time"`` or ``"p"``.
    """
    said = {name for option in directives for name in VARIABLES.get(option, (option.upper().replace("-", "_"),))}
    return {key: value for key, value in _ours().items() if key not in {f"SBATCH_{name}" for name in said | NEVER}}


def _ours() -> dict[str, str]:
    """Without what describes the job that we are in ourselves, and what changes how commands answer."""
    return {key: value for key, value in os.environ.items() if key in KEPT or not key.startswith(FOREIGN)}


KEPT = {"SLURM_CLUSTERS", "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"}  # which cluster, and who asks
FOREIGN = ("SLURM_", "SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_")
NEVER = {"ARRAY_INX", "DEBUG", "ERROR", "WAIT"}
_MEMORY = ("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU")  # each of which excludes the others
_REQUEUE = ("REQUEUE", "NO_REQUEUE")
VARIABLES = {
    "array": ("ARRAY_INX",),
    "time": ("TIMELIMIT",),
    "switches": ("REQ_SWITCH",),
    **dict.fromkeys(("mem", "mem-per-cpu", "mem-per-gpu"), _MEMORY),
    **dict.fromkeys(("requeue", "no-requeue"), _REQUEUE),
    "A": ("ACCOUNT",),
    "C": ("CONSTRAINT",),
    "G": ("GPUS",),
    "M": ("CLUSTERS",),
    "O": ("OVERCOMMIT",),
    "S": ("CORE_SPEC",),
    "k": ("NO_KILL",),
    "m": ("DISTRIBUTION",),
    "p": ("PARTITION",),
    "q": ("QOS",),
    "t": ("TIMELIMIT",),
}
