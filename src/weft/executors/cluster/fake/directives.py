"""What a script asks for: its ``#SBATCH`` lines, read as ``sbatch`` reads them."""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from weft.errors import UserError
from weft.executors.cluster.system import Refused
from weft.resources import Resources

__all__ = ["Wants", "read_script", "read_words"]

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

HELP = 'Try "sbatch --help" for more information'
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
    if not first.startswith("#!"):
        raise Refused(
            "sbatch: error: This does not look like a batch script.  The first\n"
            "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
            "sbatch: error: For instance: #!/bin/sh"
        )
    words: list[str] = []
    for line in lines:
        if line.startswith("#SBATCH"):
            words += _words(line[len("#SBATCH") :])
        elif line.strip() and not line.lstrip().startswith("#"):
            break  # the script proper; what comes later is a comment
    return read_words(words, tuple(first[2:].strip().split(None, 1)))


def read_words(words: Iterable[str], interpreter: tuple[str, ...] = ()) -> Wants:
    """What the words of a command line ask for; the last of several counts. Raises Refused."""
    given = dict(_options(iter(words)))

    def read(name: str, reader: Callable[[str], Any], default: Any = None) -> Any:
        if name not in given:
            return default
        try:
            return reader(given[name])
        except (ValueError, KeyError, UserError) as error:
            if reader is int:
                text = f'Invalid numeric value "{given[name]}" for --{name}.'
            else:
                text = f"Invalid --{name} specification"
            raise Refused(f"sbatch: error: {text}") from error

    cpus = read("cpus-per-task", int, 1) * read("ntasks", int, 1)
    return Wants(
        interpreter,
        name=given.get("job-name", ""),
        array="array" in given,
        throttle=read("array", _throttle),
        cpus=cpus,
        gpus=max(
            read("gres", _gres, 0), *(read(name, _gpus, 0) for name in ("gpus", "gpus-per-node", "gpus-per-task"))
        ),
        memory=read("mem", _bytes) or read("mem-per-cpu", _bytes, 0) * cpus,
        time=read("time", _minutes),
        warning=read("signal", _warning),
        partition=given.get("partition", ""),
        output=given.get("output", ""),
        error=given.get("error", ""),
        append=given.get("open-mode", "").startswith("a"),
        directory=given.get("chdir", ""),
        requeue=read("requeue", lambda text: text != "no"),
        hold="hold" in given,
        kill_invalid=read("kill-on-invalid-dep", lambda text: text.startswith("y")),
    )


def _options(words: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Names and values."""
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
        elif word.startswith("-") and len(word) > 1:
            name, value = _LONG.get(word[1], word[1]), word[2:].removeprefix("=")
            equals = value
        else:
            raise Refused(f"sbatch: error: Invalid directive found in batch script: {word}")
        if name not in OPTIONS:
            raise Refused(f"sbatch: unrecognized option '{word}'\n{HELP}")
        if name not in FLAGS and name not in EITHER and not equals:
            try:
                value = next(words)
            except StopIteration:
                raise Refused(f"sbatch: option '{word}' requires an argument\n{HELP}") from None
        yield ("requeue", "no") if name == "no-requeue" else (name, value)


def _words(line: str) -> Iterator[str]:
    """The words of a line. A backslash takes the meaning from any character, in quotes of either kind too."""
    for word in _WORD.findall(line):
        if word.startswith("#"):
            return
        yield _unquoted(word)


_WORD = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\\.|[^\s"'\\])+""")


def _unquoted(word: str) -> str:
    found, quote, escaped = "", "", False
    for character in word:
        if escaped:
            found, escaped = found + character, False
        elif character == "\\":
            escaped = True
        elif character == quote or (not quote and character in "\"'"):
            quote = "" if quote else character
        else:
            found += character
    return found


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


def _throttle(text: str) -> int | None:
    _, percent, throttle = text.partition("%")
    return int(throttle) if percent else None


def _gpus(text: str) -> int:
    """Of ``2`` or ``a100:2``."""
    return int(text.rpartition(":")[2])


def _gres(text: str) -> int:
    """How many gpus: of ``gpu``, ``gpu:2`` or ``gpu:a100:2``, or of something else."""
    if text.partition(":")[0] != "gpu":
        return 0
    count = text.rpartition(":")[2]
    return int(count) if count.isdecimal() else 1


def _warning(text: str) -> tuple[int, float] | None:
    """A signal and its seconds; None for the steps of a job, of which a script without ``srun`` has none."""
    match = re.fullmatch(r"(?:([RB]+):)?(\w+)(?:@(\d+))?", text)
    if match is None:
        raise ValueError("Invalid --signal specification")
    name = match[2].upper()
    number = int(name) if name.isdecimal() else signal.Signals["SIG" + name.removeprefix("SIG")]
    return (int(number), float(match[3] or 60)) if "B" in (match[1] or "") else None
