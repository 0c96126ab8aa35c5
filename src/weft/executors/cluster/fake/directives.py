"""What a script asks for: its ``#SBATCH`` lines, read as ``sbatch`` reads them; and the script for a sheet."""

from __future__ import annotations

import json
import math
import re
import shlex
import signal
from collections.abc import Iterator
from typing import NamedTuple

from weft.errors import UserError
from weft.executors.cluster.slurm_script import proven
from weft.executors.cluster.system import Refused, Sheet
from weft.resources import Resources

__all__ = ["OPTIONS", "Wants", "read_script", "script_of"]

#: The options of ``sbatch`` that mean something here, with their short forms.
MEANT = {
    "array": "a",
    "chdir": "D",
    "cpus-per-task": "c",
    "error": "e",
    "gpus": "G",
    "gpus-per-node": "",
    "gpus-per-task": "",
    "gres": "",
    "hold": "H",
    "job-name": "J",
    "kill-on-invalid-dep": "",
    "mem": "",
    "mem-per-cpu": "",
    "no-requeue": "",
    "ntasks": "n",
    "open-mode": "",
    "output": "o",
    "partition": "p",
    "requeue": "",
    "signal": "",
    "time": "t",
}
#: Those that are taken and change nothing.
IGNORED = {
    **{"account": "A", "constraint": "C", "distribution": "m", "exclude": "x", "licenses": "L", "nodelist": "w"},
    **{"nodes": "N", "qos": "q", "oversubscribe": "s", "exclusive": ""},
    **dict.fromkeys(("comment", "export", "hint", "mail-type", "mail-user", "nice", "ntasks-per-node"), ""),
    **dict.fromkeys(("parsable", "prefer", "priority", "profile", "quiet", "reservation", "switches"), ""),
    **dict.fromkeys(("threads-per-core", "time-min", "tmp", "wckey"), ""),
}
#: Those that stand alone.
FLAGS = {"hold", "no-requeue", "oversubscribe", "parsable", "quiet", "requeue"}
#: Those that may stand alone, or have a value after an equals sign.
EITHER = {"exclusive", "nice"}

OPTIONS = {**MEANT, **IGNORED}
_LONG = {short: name for name, short in OPTIONS.items() if short}


class Wants(NamedTuple):
    """What a script asks for."""

    interpreter: tuple[str, ...]
    name: str = ""
    array: bool = False
    throttle: int | None = None
    cpus: int = 1
    gpus: int = 0
    memory: int = 0  # bytes
    time: float | None = None  # seconds: whole minutes
    warning: tuple[int, float] | None = None  # a signal, and so many seconds before the time is over
    partition: str = ""
    output: str = ""  # patterns
    error: str = ""
    append: bool = False
    directory: str = ""
    requeue: bool | None = None
    hold: bool = False
    kill_invalid: bool | None = None

    @property
    def amounts(self) -> tuple[int, int, int]:
        """What it takes of a node: cpus, memory, gpus."""
        return self.cpus, self.memory, self.gpus


def read_script(text: str) -> Wants:
    """What a script asks for; raises Refused with what ``sbatch`` says."""
    first, *lines = text.split("\n")
    if not first.startswith("#!") or not first[2:].strip():
        raise Refused(
            "sbatch: error: This does not look like a batch script.  The first\n"
            "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
            "sbatch: error: For instance: #!/bin/sh"
        )
    given: dict[str, str] = {}
    for line in lines:
        if line.startswith("#SBATCH"):
            given.update(_options(line[len("#SBATCH") :]))
        elif line.strip() and not line.lstrip().startswith("#"):
            break  # the script proper; what comes later is a comment
    try:
        return _wants(tuple(first[2:].strip().split(None, 1)), given)
    except (ValueError, KeyError, UserError) as error:
        raise Refused(f"sbatch: error: {error}") from error


def _wants(interpreter: tuple[str, ...], given: dict[str, str]) -> Wants:
    cpus = int(given.get("cpus-per-task", 1)) * int(given.get("ntasks", 1))
    throttle = re.search(r"%(\d+)$", given.get("array", ""))
    return Wants(
        interpreter,
        name=given.get("job-name", ""),
        array="array" in given,
        throttle=int(throttle[1]) if throttle else None,
        cpus=cpus,
        gpus=_gpus(given),
        memory=_bytes(given["mem"]) if "mem" in given else _bytes(given.get("mem-per-cpu", "0")) * cpus,
        time=_minutes(given["time"]) if "time" in given else None,
        warning=_warning(given["signal"]) if "signal" in given else None,
        partition=given.get("partition", ""),
        output=given.get("output", ""),
        error=given.get("error", ""),
        append=given.get("open-mode", "").startswith("a"),
        directory=given.get("chdir", ""),
        requeue=given["requeue"] != "no" if "requeue" in given else None,
        hold="hold" in given,
        kill_invalid=given["kill-on-invalid-dep"].startswith("y") if "kill-on-invalid-dep" in given else None,
    )


def _options(line: str) -> Iterator[tuple[str, str]]:
    """Names and values in one line; the last of several counts."""
    words = iter(_words(line))
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
        elif word.startswith("-") and len(word) > 1:
            name, value = _LONG.get(word[1], word[1]), word[2:].removeprefix("=")
            equals = value
        else:
            raise Refused(f"sbatch: error: Invalid argument: {word}")
        if name not in OPTIONS:
            raise Refused(f"sbatch: unrecognized option '{word}'")
        if name not in FLAGS and name not in EITHER and not equals:
            try:
                value = next(words)
            except StopIteration:
                raise Refused(f"sbatch: option '{word}' requires an argument") from None
        yield ("requeue", "no") if name == "no-requeue" else (name, value)


def _words(line: str) -> Iterator[str]:
    for word in _WORD.findall(line):
        if word.startswith("#"):
            return
        yield _QUOTED.sub(_unquoted, word)


_WORD = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'])+""")
_QUOTED = re.compile(r""""((?:[^"\\]|\\.)*)"|'([^']*)'""")


def _unquoted(match: re.Match[str]) -> str:
    if match[1] is None:
        return match[2]
    try:
        return str(json.loads(match[0], strict=False))
    except ValueError:
        return match[1]


# Values -----------------------------------------------------------------------------------------------------


def _bytes(text: str) -> int:
    if text in ("0", ""):
        return 0
    return Resources.read("--mem", memory=text if text[-1].isalpha() else f"{text}M").memory or 0


def _minutes(text: str) -> float | None:
    """Seconds, of which there are whole minutes; None: no limit."""
    if text.upper() in ("UNLIMITED", "INFINITE", "0"):
        return None
    if text.isdecimal():
        return 60.0 * int(text)
    seconds = Resources.read("--time", time=text).time or 0
    return 60.0 * math.ceil(seconds / 60)


def _gpus(given: dict[str, str]) -> int:
    for name in ("gpus", "gpus-per-node", "gpus-per-task", "gres"):
        kind, _, count = given.get(name, "").rpartition(":")
        if name == "gres" and not (kind or count).startswith("gpu"):
            continue
        if count:
            return int(count) if count.isdecimal() else 1
    return 0


def _warning(text: str) -> tuple[int, float] | None:
    """A signal and its seconds; None for the steps of a job, of which a script without ``srun`` has none."""
    match = re.fullmatch(r"(?:([RB]+):)?(\w+)(?:@(\d+))?", text)
    if match is None:
        raise ValueError("Invalid --signal specification")
    name = match[2].upper()
    number = int(name) if name.isdecimal() else signal.Signals["SIG" + name.removeprefix("SIG")]
    return (int(number), float(match[3] or 60)) if "B" in (match[1] or "") else None


# Scripts ----------------------------------------------------------------------------------------------------


def script_of(sheet: Sheet) -> str:
    """The text of the script for a sheet."""
    array = len(sheet.places) > 1
    place = '"$SLURM_ARRAY_TASK_ID"' if array else str(sheet.places[0])
    asked: list[tuple[str, object]] = [("job-name", sheet.name)]
    if array:
        throttle = f"%{sheet.throttle}" if sheet.throttle else ""
        asked.append(("array", _listed(sheet) + throttle))
    before, found, after = sheet.log.replace("%", "%%").rpartition("{place}")
    asked.append(("output", before + ("%a" if array else place) * bool(found) + after))
    asked.append(("chdir", sheet.directory))
    resources = sheet.resources
    if resources.cpus is not None:
        asked.append(("cpus-per-task", resources.cpus))
    if resources.gpus:
        asked.append(("gpus", resources.gpus))
    if resources.memory is not None:
        asked.append(("mem", f"{math.ceil(resources.memory / 1024**2)}M"))
    if resources.time is not None:
        asked.append(("time", math.ceil(resources.time / 60)))
    asked += [(name.replace("_", "-"), value) for name, value in sheet.options if value is not False]
    directives = [line for line in sheet.setup if line.startswith("#SBATCH")]
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH --{name}" + _value(value) for name, value in asked),
            *directives,
            "export WEFT_TRY=${SLURM_RESTART_COUNT:-0}",
            *(f"export {name}={shlex.quote(value)}" for name, value in sheet.env),
            *(line for line in sheet.setup if line not in directives),
            *_run(sheet, place),
            "",
        ]
    )


def _listed(sheet: Sheet) -> str:
    places = sheet.places
    if isinstance(places, range) and places.step == 1:
        return f"{places[0]}-{places[-1]}"
    return ",".join(map(str, places))


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w.,:=%/+@\[\]-]+", text) else json.dumps(text, ensure_ascii=False)


def _run(sheet: Sheet, place: str) -> list[str]:
    command = f"{shlex.join(sheet.command)} {place}"
    return proven(command, sheet.proof, place) if sheet.proof else [f"exec {command}"]


def _value(value: object) -> str:
    return "" if value is None or value is True else f"={_quoted(str(value))}"
