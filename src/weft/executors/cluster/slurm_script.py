"""The script of a submission: what Slurm is asked for, and what each element runs.

#!/bin/bash
#SBATCH --job-name=fit-3f2a      what Slurm is asked for, a line for each word
export DATA=/scratch/me          the user's environment
module load cuda                 the user's own lines
cd /home/me/work || exit         then the worker takes the place of the shell
exec python worker.py calls "$SLURM_ARRAY_TASK_ID"
"""

from __future__ import annotations

import math
import re
from typing import Any

from weft.executors.cluster.script import ODD, call, exports, redirection, threads
from weft.executors.cluster.slurm_text import spans
from weft.executors.cluster.system import Sheet
from weft.resources import Resources
from weft.rundir.place import safe_name

__all__ = ["SBATCH", "dashed", "is_directive", "script_of"]

SBATCH = "#SBATCH"
ELEMENT = '"$SLURM_ARRAY_TASK_ID"'


def script_of(sheet: Sheet) -> str:
    """The text of the script for a sheet that `slurm_options` has nothing against."""
    lines = ["#!/bin/bash", *(f"{SBATCH} {word}" for word in _words(sheet))]
    lines += [line for line in sheet.setup if is_directive(line)]
    commands = [line for line in sheet.setup if not is_directive(line)]
    run = call(sheet, _element(sheet), '"${SLURM_RESTART_COUNT:-0}"')
    for part in (_redirection(sheet), exports(sheet.env), commands, _threads(sheet.resources.cpus), run):
        lines += ["", *part] if part else []
    return "\n".join(lines) + "\n"


def is_directive(line: str) -> bool:
    """Whether a line of setup is for `sbatch`, and not for the shell."""
    return line.startswith(SBATCH)


# What Slurm is asked for -------------------------------------------------------------------------------------


def _words(sheet: Sheet) -> list[str]:
    """What follows ``#SBATCH``, without the user's own directives."""
    theirs = {dashed(name) for name, value in sheet.options if value is not False}
    if any(dashed(name) == "no-requeue" for name, _ in sheet.options) or "requeue" in theirs:
        theirs.add("no-requeue")
    words = [_word(name, value) for name, value in _ours(sheet).items() if name not in theirs]
    return words + [_word(dashed(name), value) for name, value in sheet.options if value is not False]


def dashed(name: str) -> str:
    """A Python keyword as an option of a command."""
    return name.replace("_", "-")


def _word(name: str, value: Any) -> str:
    short = len(name) == 1
    flag = f"-{name}" if short else f"--{name}"
    return flag if value is None or value is True else f"{flag}{' ' if short else '='}{_quoted(str(value))}"


def _quoted(text: str) -> str:
    """As Slurm's own reader of directives has it: a backslash takes the meaning from any character, in quotes too."""
    if re.fullmatch(r"[\w@%+=:,./\[\]()&|*!?~^{}-]+", text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _ours(sheet: Sheet) -> dict[str, Any]:
    words: dict[str, Any] = {"job-name": safe_name(sheet.name)}
    if len(sheet.places) > 1:
        words["array"] = ",".join(spans(sheet.places, steps=True)) + (f"%{sheet.throttle}" if sheet.throttle else "")
    words["output"] = _log_pattern(sheet) or "/dev/null"
    words["open-mode"] = "append"  # What an earlier try has written stays there.
    words["no-requeue"] = None
    return {**words, **_resources(sheet.resources)}


def _resources(resources: Resources) -> dict[str, Any]:
    words: dict[str, Any] = {}
    if resources.cpus is not None:
        words["cpus-per-task"] = resources.cpus
    if resources.gpus:
        # Not --gpus: that is for the whole job, which several nodes may then share, and select/cons_res lacks it.
        words["gres"] = f"gpu:{resources.gpus}"
    if resources.memory is not None:
        words["mem"] = f"{-(-resources.memory // 2**20)}M"
    if resources.time is not None:
        words["time"] = _minutes(resources.time)
    return words


def _minutes(seconds: float) -> str:
    """Time limits count whole minutes: the next one up."""
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return f"{hours:02}:{minutes:02}:00" if hours < 24 else f"{hours // 24}-{hours % 24:02}:{minutes:02}:00"


def _log_pattern(sheet: Sheet) -> str | None:
    """Where the log goes, in Slurm's words; None where it has none.

    It drops backslashes from a path and then sees no patterns in it, and a directive is one line.
    """
    if re.search(rf"{ODD}|\\", sheet.log):
        return None
    before, found, after = sheet.log.replace("%", "%%").rpartition("{place}")
    return before + ("%a" if len(sheet.places) > 1 else str(sheet.places[0])) * bool(found) + after


# What each element runs --------------------------------------------------------------------------------------


def _redirection(sheet: Sheet) -> list[str]:
    if _log_pattern(sheet) is not None:
        return []
    # What Slurm itself notes there, such as why it ended the job, is lost then.
    return ["# No directive can say this path.", *redirection(sheet.log, _element(sheet))]


def _element(sheet: Sheet) -> str:
    return ELEMENT if len(sheet.places) > 1 else str(sheet.places[0])


def _threads(cpus: int | None) -> list[str]:
    return threads("${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}" if cpus is None else str(cpus))
