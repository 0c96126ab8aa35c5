"""What a user may ask of Slurm: mistakes are found before anything is submitted."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any

from weft.errors import ArgumentError, ChoiceError
from weft.executors.cluster.options import refuse_foreign
from weft.executors.cluster.slurm_script import SBATCH, dashed, is_directive
from weft.executors.cluster.system import Sheet
from weft.resources import Resources

__all__ = ["PASSES", "clusters_in", "command_line", "options_in", "refuse_mistakes"]

#: Options of sbatch that are words of an executor's.
PASSES: tuple[str, ...] = (
    *("account", "constraint", "exclude", "exclusive", "licenses", "nodelist", "nodes", "ntasks", "partition"),
    *("priority", "qos", "requeue", "reservation"),
)
# What a sheet says in words of its own, or what would have sbatch do something else than submit.
OURS = {
    "array": "weft makes the array",
    "chdir": "weft chooses the directory",
    "dependency": "weft orders jobs by what they are after",
    "error": "weft keeps the logs",
    "help": "",
    "job-name": "say name=...",
    "kill-on-invalid-dep": "weft orders jobs by what they are after",
    "output": "weft keeps the logs",
    "parsable": "",
    "test-only": "",
    "usage": "",
    "version": "",
    "wait": "weft does the waiting",
    "wrap": "weft writes the script",
}
SHORT = {"a": "array", "D": "chdir", "d": "dependency", "e": "error", "h": "help", "J": "job-name", "o": "output"}
SHORT |= {"V": "version", "W": "wait"}
LEAST = 3  # letters by which an option may be called for short

# By which of weft's own words the same thing is said.
TWICE = {
    "c": "cpus",
    "cpus-per-task": "cpus",
    "G": "gpus",
    "gpus": "gpus",
    "gpus-per-node": "gpus",
    "gpus-per-task": "gpus",
    "gres": "gpus",
    "mem": "memory",
    "mem-per-cpu": "memory",
    "mem-per-gpu": "memory",
    "t": "time",
    "time": "time",
}


def refuse_mistakes(sheet: Sheet) -> None:
    """Raise ArgumentError or ChoiceError for options and lines of setup that cannot be meant."""
    for name, value in sheet.options:
        _refuse_value(name, value)
        if value is not False:
            _refuse_name(dashed(name), f"{name}=...", sheet.resources)
    refuse_foreign(sheet.setup, SBATCH)
    for line in sheet.setup:
        _refuse_line(line)
    _refuse_order(sheet.setup)
    for line in filter(is_directive, sheet.setup):
        for name in _names(line):
            _refuse_name(name, f"setup={line!r:.60}", sheet.resources)


def command_line(sheet: Sheet) -> list[str]:
    """What a user asks for, as words for the command line of `sbatch`."""
    words = []
    for name, value in sheet.options:
        if value is not False:
            flag = f"-{name}" if len(name) == 1 else f"--{dashed(name)}="
            words.append(flag.rstrip("=") if value is None or value is True else f"{flag}{value}")
    return words + [word for line in filter(is_directive, sheet.setup) for word in _split(line)]


def clusters_in(words: Iterable[str]) -> set[str]:
    """The clusters that a command line lets Slurm choose from."""
    given = [os.environ.get("SBATCH_CLUSTERS", "")]
    given += [
        word.removeprefix("-M").removeprefix("--clusters=")
        for word in words
        if word[:2] == "-M" or "--clusters=" in word
    ]
    return {name for names in given for name in names.split(",") if name}


def options_in(script: str) -> set[str]:
    """The options that a script has directives for. Empty where it cannot be read."""
    try:
        with open(script, encoding="utf-8", errors="replace") as file:
            lines = [line.rstrip("\n") for line in takewhile(lambda line: line.startswith("#"), file)]
        return {name for line in lines if is_directive(line) for name in _names(line)}
    except (OSError, ValueError):
        return set()


def _refuse_value(name: str, value: Any) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name, re.ASCII):
        raise ChoiceError(f"{name!r:.60} cannot be an option of sbatch; write it without dashes in front")
    if value is not None and not isinstance(value, str | int | float):
        raise ArgumentError(
            f"{name}=... must be text or a number, None (no value) or False (left out); got {value!r:.60}"
        )
    if isinstance(value, str) and re.search(r"[\0\n\r]", value):
        raise ChoiceError(f"{name}=... must be one line of text, got {value!r:.60}")


def _refuse_name(name: str, given: str, resources: Resources) -> None:
    name = SHORT.get(name, name)
    for ours, instead in OURS.items():
        if name == ours or (len(name) >= LEAST and ours.startswith(name)):
            raise ChoiceError(f"{given}: --{ours} is not for you to say; {instead or 'weft runs sbatch its own way'}")
    word = TWICE.get(name)
    if word is not None and getattr(resources, word):
        raise ChoiceError(f"{given} says the same as {word}=...; leave one of them out")


def _refuse_line(line: str) -> None:
    if "\0" in line:
        raise ChoiceError(f"setup: no script can have a NUL character in it: {line!r:.60}")
    if is_directive(line):
        try:
            _split(line)
        except ValueError as error:
            raise ChoiceError(f"setup: {line!r:.60} is no directive: {str(error).lower()}") from None


def _refuse_order(setup: tuple[str, ...]) -> None:
    command = None
    for line in setup:
        if command is not None and is_directive(line):
            raise ChoiceError(
                f"setup: {line!r:.60} comes after the command {command!r:.60}, where sbatch does not read it any more; "
                f"put all lines with {SBATCH} first"
            )
        if line.strip() and not line.lstrip().startswith("#"):
            command = line


def _split(directive: str) -> list[str]:
    """The words of a directive, which may end in a comment. Raises ValueError."""
    return shlex.split(directive[len(SBATCH) :], comments=True)


def _names(line: str) -> Iterator[str]:
    for word in _split(line):
        if word.startswith("--"):
            yield word[2:].partition("=")[0]
        elif word.startswith("-"):
            yield word[1:2]
