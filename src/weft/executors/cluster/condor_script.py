"""The two files of a submission: what HTCondor is asked for, and what each element runs.

    script.sub                              script.sh
    batch_name = fit-3f2a                   exec >>/runs/3/logs/"$1".log 2>&1     the log
    executable = /bin/bash                  export DATA=/scratch/me               the user's environment
    arguments = "script.sh $(Process)"      module load cuda                      the user's own lines
    log = /runs/3/script.events             cd /home/me/work || exit
    request_cpus = 4                        python worker.py calls "$1"           the worker
    queue 100

The description can be submitted by hand. Beside it HTCondor keeps the event log, see `condor_log`.

Where nodes do not see the files of this machine, HTCondor brings what the worker needs into a folder of its own for
each element, and what that has left back. The script puts both where they are looked for.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from weft.executors.cluster.script import ODD, call, exports, redirection, shell, threads
from weft.executors.cluster.system import Sheet
from weft.rundir.place import safe_name

__all__ = [
    "CONDOR",
    "NO_LOG",
    "Facts",
    "description",
    "description_of",
    "events_of",
    "facts_in",
    "is_directive",
    "read_directive",
    "script_of",
]

CONDOR = "#CONDOR"
ELEMENT = '"$1"'
VACATE = 30  # seconds from SIGTERM to SIGKILL
LEASE = 300  # seconds after which a node that does not answer is given up; HTCondor's own default is 40 minutes
KEEP = 10  # seconds for which a node that is done is kept for the next job; else that waits to be given one, a minute
SLACK = 30  # seconds that the pool gives beyond the time limit, which the worker keeps
NO_LOG = 125  # exit code of a script that cannot write its log
CARRYING = 600  # and so many more where files are carried, which takes from a job's time


def description_of(script: str) -> str:
    """The path of the description beside a script."""
    return f"{script.removesuffix('.sh')}.sub"


def events_of(script: str) -> str:
    """The path of the event log beside a script."""
    return f"{script.removesuffix('.sh')}.events"


def is_directive(line: str) -> bool:
    """Whether a line of setup is for the description, and not for the shell."""
    return line.startswith(CONDOR)


def read_directive(line: str) -> tuple[str, str]:
    """Name and value of a directive. Raises ValueError."""
    match = re.fullmatch(r"\s*([+A-Za-z_][\w.]*)\s*=\s*(.*?)\s*", line[len(CONDOR) :], re.ASCII)
    if match is None:
        raise ValueError("it does not say name = value")
    return match[1], match[2]


# What HTCondor is asked for -----------------------------------------------------------------------------------


def description(sheet: Sheet, script: str, *, transfer: bool) -> str:
    """The text of the description for a sheet that `condor_options` has nothing against.

    Args:
        sheet: as it is.
        script: the path of the script.
        transfer: nodes do not see the files of this machine.
    """
    way = _carried(sheet, script) if transfer else SHARED
    ours = {**_words(sheet, script), **way, **_resources(sheet, CARRYING if transfer else 0)}
    theirs = _theirs(sheet)
    said = {name.lower() for name in theirs} - {FILES}
    words = {name: value for name, value in ours.items() if name not in said}
    words |= {name: value for name, value in theirs.items() if value is not None and name.lower() in said}
    return "\n".join([*(f"{name} = {value}" for name, value in words.items()), *_queue(sheet.places)]) + "\n"


def _theirs(sheet: Sheet) -> dict[str, Any]:
    """What the user says, which goes before what we do; None leaves it out."""
    said = dict(sheet.options) | dict(read_directive(line) for line in sheet.setup if is_directive(line))
    return {FILES if name.lower() == FILES else name: value for name, value in said.items()}


FILES = "transfer_input_files"  # of which the user may have some, too


def _words(sheet: Sheet, script: str) -> dict[str, Any]:
    words = {
        "batch_name": safe_name(sheet.name),
        "universe": "vanilla",
        **({} if _is_odd(os.path.dirname(script)) else {"initialdir": _value(os.path.dirname(script))}),
        "executable": "/bin/bash",
        "arguments": f'"{_argument(os.path.basename(script))} {_number(sheet.places)}"',
        "transfer_executable": False,
        "log": _value(os.path.basename(events_of(script))),
        "kill_sig": "SIGTERM",
        "job_max_vacate_time": VACATE,
        "job_lease_duration": LEASE,
        "keep_claim_idle": KEEP,
    }
    return words | ({"max_materialize": sheet.throttle} if sheet.throttle and len(sheet.places) > 1 else {})


#: The environment goes along, as it does with sbatch.
SHARED: Mapping[str, Any] = {"should_transfer_files": "NO", "getenv": True}


def _carried(sheet: Sheet, script: str) -> dict[str, Any]:
    """By relative paths, whatever folders above are called."""
    here = os.path.dirname(script)
    inputs = [os.path.basename(script), *(_value(os.path.relpath(path, here)) for path in sheet.inputs)]
    log = _value(os.path.relpath(sheet.log, here)).replace("{place}", _number(sheet.places))
    return {
        "should_transfer_files": "YES",
        "when_to_transfer_output": "ON_EXIT",
        FILES: ",".join([*inputs, *filter(None, [_theirs(sheet).get(FILES)])]),
        "transfer_output_files": os.path.basename(sheet.outputs),
        "output": log,
        "error": log,
    }


def _resources(sheet: Sheet, more: int) -> dict[str, Any]:
    resources, words = sheet.resources, {}
    if resources.cpus is not None:
        words["request_cpus"] = str(resources.cpus)
    if resources.gpus:
        words["request_gpus"] = str(resources.gpus)
    if resources.memory is not None:
        words["request_memory"] = f"{-(-resources.memory // 2**20)}MB"
    if resources.time is not None:
        # Not allowed_execute_duration: that holds the job, and nobody may be there any more to remove it.
        limit = math.ceil(resources.time) + SLACK + more
        words["periodic_remove"] = f"JobStatus == 2 && time() - JobCurrentStartDate > {limit}"
    return words


def _is_odd(path: str) -> bool:
    """Whether no value can say a path; then the description is to be submitted from its folder."""
    return re.search(rf"{ODD}|^\s|\s$", path) is not None


def _value(text: str) -> str:
    return text.replace("$", "$(DOLLAR)")


def _argument(text: str) -> str:
    """One of several words between double quotes."""
    if re.fullmatch(r"[\w.,:/+=@%-]+", text, re.ASCII):
        return text
    return "'" + _value(text).replace("'", "''").replace('"', '""') + "'"


def _number(places: Sequence[int]) -> str:
    """The number of the element, in the description."""
    return "$(place)" if _has_gaps(places) else "$(Process)"


def _has_gaps(places: Sequence[int]) -> bool:
    """Whether elements are not numbered as HTCondor numbers them: 0, 1, 2 and so on."""
    return not (isinstance(places, range) and places == range(len(places)))


def _queue(places: Sequence[int]) -> list[str]:
    if not _has_gaps(places):
        return [f"queue {len(places)}"]
    return ["My.WeftPlace = $(place)", "queue place from (", *map(str, places), ")"]


# The same, read again -----------------------------------------------------------------------------------------


class Facts(NamedTuple):
    """What a submission is, by its description."""

    places: Sequence[int]  #: By the number that HTCondor gives to each.
    throttled: bool = False  #: Elements come into the queue little by little.
    releases: bool = False  #: The user says when one that is held is to be released.


def facts_in(text: str) -> Facts:
    """What a description says. Raises ValueError."""
    names = {line.partition("=")[0].strip().lower() for line in text.splitlines()}
    last = re.split(r"^queue ", text, flags=re.MULTILINE)[-1]
    match = re.fullmatch(r"(\d{1,9})\s*|place from \(\n((?:\d+\n)+)\)\s*", last, re.ASCII)
    if match is None:
        raise ValueError("it does not end as weft's descriptions do")
    places: Sequence[int] = range(int(match[1])) if match[1] else [int(line) for line in match[2].split()]
    return Facts(places, not names.isdisjoint(LATE), "periodic_release" in names)


LATE = {"max_idle", "max_materialize"}


# What each element runs ---------------------------------------------------------------------------------------


def script_of(sheet: Sheet, *, transfer: bool) -> str:
    """The text of the script; see `description`."""
    first = ["exec 2>&1", *_unpacked(sheet)] if transfer else _logged(sheet)
    commands = [line for line in sheet.setup if not is_directive(line)]
    run = call(_here(sheet) if transfer else sheet, ELEMENT, '"$((${starts:-1} - 1))"', relays=True)
    lines = ["#!/bin/bash"]
    for part in (first, exports(sheet.env), commands, _threads(sheet.resources.cpus), [*STARTS, *run]):
        lines += ["", *part] if part else []
    return "\n".join(lines) + "\n"


def _logged(sheet: Sheet) -> list[str]:
    (line,) = redirection(sheet.log, ELEMENT)
    tried = line.removeprefix("exec ").removesuffix(" 2>&1")
    return ["# Where nobody could read why it fails, its exit code says so.", f"true {tried} || exit {NO_LOG}", line]


def _read(variable: str, ad: str, name: str) -> list[str]:
    """Have a variable hold a number from what HTCondor lays beside a job; by the shell alone, which is quick."""
    return [
        f'mapfile -t ad <"${{{ad}:-/dev/null}}"',
        f'[[ " ${{ad[*]}} " =~ " {name} = "([0-9]+)" " ]] && {variable}="${{BASH_REMATCH[1]}}"',
    ]


STARTS = [
    "# How often HTCondor has begun to start it. What it says of starts that came to something may be out of date.",
    *_read("starts", "_CONDOR_JOB_AD", "NumShadowStarts"),
]


def _threads(cpus: int | None) -> list[str]:
    if cpus is not None:
        return threads(str(cpus))
    return [*_read("cpus", "_CONDOR_MACHINE_AD", "Cpus"), *threads("${cpus:-1}")]


def _unpacked(sheet: Sheet) -> list[str]:
    """Have what has come along where the worker looks for it, and what it leaves where it is fetched."""
    outputs = os.path.basename(sheet.outputs)
    there = _relative(sheet.outputs, sheet.home)
    above = os.path.dirname(there)
    return [
        "",
        "# What has come along belongs where the worker looks for it; what it leaves, where it is fetched.",
        f"mkdir -p {shell(above)} {shell(outputs)}",
        f"ln -s {shell(os.path.relpath(outputs, above))} {shell(there)}",
        *(f"mv {shell(os.path.basename(path))} {shell(_relative(path, sheet.home))}" for path in sheet.inputs),
    ]


def _here(sheet: Sheet) -> Sheet:
    """The same, where it has been brought to."""
    return sheet._replace(
        command=tuple(_relative(word, sheet.home) for word in sheet.command),
        proof=_relative(sheet.proof, sheet.home),
        directory="",
    )


def _relative(path: str, home: str) -> str:
    """A path in the home, from the folder in which a copy of the home is; any other word as it is."""
    if path != home and not path.startswith(home + os.sep):
        return path
    return os.path.join(".", os.path.relpath(path, os.path.dirname(home)))
