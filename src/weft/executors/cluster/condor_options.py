"""What a user may ask of HTCondor: mistakes are found before anything is submitted."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Iterable
from typing import Any

from weft.errors import ArgumentError, ChoiceError
from weft.executors.cluster.condor_script import CONDOR, is_directive, read_directive
from weft.executors.cluster.options import refuse_foreign
from weft.executors.cluster.system import Sheet
from weft.resources import Resources

__all__ = ["PASSES", "names_in", "refuse_folder", "refuse_mistakes", "refuse_unused"]

#: Words of a description that are words of an executor's.
PASSES: tuple[str, ...] = (
    *("accounting_group", "accounting_group_user", "concurrency_limits", "getenv", "job_lease_duration"),
    *("job_max_vacate_time", "keep_claim_idle", "nice_user", "periodic_release", "priority", "rank", "request_disk"),
    *("require_gpus", "requirements"),
)
# What a sheet says in words of its own, or what would have a job be another one than weft thinks.
OURS = {
    "args": "weft writes the command",
    "arguments": "weft writes the command",
    "batch_name": "say name=...",
    "cmd": "weft writes the script",
    "deferral_time": "",
    "error": "weft keeps the logs",
    "executable": "weft writes the script",
    "hold": "",
    "initialdir": "weft chooses the directory",
    "input": "",
    "iwd": "weft chooses the directory",
    "kill_sig": "jobs are told to end by SIGTERM",
    "leave_in_queue": "",
    "log": "weft reads the event log",
    "log_xml": "weft reads the event log",
    "max_idle": "weft counts the elements",
    "max_materialize": "weft counts the elements",
    "max_retries": "say retries=...",
    "on_exit_hold": "weft looks at the exit code",
    "on_exit_remove": "weft looks at the exit code",
    "output": "weft keeps the logs",
    "queue": "weft counts the elements",
    "remove_kill_sig": "jobs are told to end by SIGTERM",
    "should_transfer_files": "say transfer=...",
    "stderr": "weft keeps the logs",
    "stdin": "",
    "stdout": "weft keeps the logs",
    "success_exit_code": "weft looks at the exit code",
    "transfer_executable": "say transfer=...",
    "transfer_output_files": "what the function returns comes back",
    "transfer_output_remaps": "what the function returns comes back",
    "universe": "",
    "when_to_transfer_output": "what the function returns comes back",
}
# By which of weft's own words the same thing is said.
TWICE = {
    "allowed_execute_duration": "time",
    "allowed_job_duration": "time",
    "periodic_remove": "time",
    "request_cpus": "cpus",
    "request_gpus": "gpus",
    "request_memory": "memory",
}
NAME = re.compile(r"(?:\+|MY\.)?[A-Za-z_]\w*", re.ASCII | re.IGNORECASE)
#: A line of a description that has lost its mark: the shell has no spaces before a "=".
ASSIGNED = re.compile(r"\+?[A-Za-z_][\w.]*\s+=(?!=)", re.ASCII)


def refuse_mistakes(sheet: Sheet, *, transfer: bool) -> None:
    """Raise ArgumentError or ChoiceError for options and lines of setup that cannot be meant."""
    for name, value in sheet.options:
        _refuse_value(name, value)
        _refuse_name(name, f"{name}=...", sheet.resources)
        _refuse_files(name, value, f"{name}=...", transfer)
    refuse_foreign(sheet.setup, CONDOR)
    _refuse_unmarked(sheet.setup)
    for line in sheet.setup:
        given = f"setup={line!r:.60}"
        if "\0" in line:
            raise ChoiceError(f"setup: no script can have a NUL character in it: {line!r:.60}")
        if is_directive(line):
            try:
                name, value = read_directive(line)
            except ValueError as error:
                raise ChoiceError(f"{given} is no directive: {error}, as in '{CONDOR} request_disk = 1GB'") from None
            _refuse_name(name, given, sheet.resources)
            _refuse_files(name, value, given, transfer)


def _refuse_unmarked(setup: Iterable[str]) -> None:
    for line in setup:
        if "<<" in line:  # what follows may be text
            return
        if ASSIGNED.match(line):
            raise ChoiceError(
                f"setup={line!r:.60} is no line of shell; for the submit description: '{CONDOR} {line:.40}'"
            )


def _refuse_files(name: str, value: Any, given: str, transfer: bool) -> None:
    if name.lower() != "transfer_input_files":
        return
    if not transfer:
        raise ChoiceError(f"{given}: files are carried to jobs with transfer=True only; else they see those of here")
    for path in str(value).split(","):
        if "://" not in path and not os.path.isabs(path.strip()):
            raise ChoiceError(f"{given}: {path.strip()!r:.60} must be an absolute path, or a URL")


def refuse_folder(path: str) -> None:
    """Raise ChoiceError for a folder in which HTCondor can keep no log, nor begin a job."""
    if re.search(r"[\n\r]|\$\$|\\(?:/|\Z)", path):
        raise ChoiceError(
            f"HTCondor takes no folder with a line break, $$, or a backslash at the end of a name: {path!r:.200}; "
            "say another one by directory=..., or by the environment variable WEFT_DIR"
        )


def _refuse_value(name: str, value: Any) -> None:
    if not NAME.fullmatch(name):
        raise ChoiceError(f"{name!r:.60} cannot be a word of a submit description")
    if value is not None and not isinstance(value, str | int | float):
        raise ArgumentError(f"{name}=... must be text, a number, True, False or None (left out); got {value!r:.60}")
    if isinstance(value, str) and re.search(r"[\0\n\r]", value):
        raise ChoiceError(f"{name}=... must be one line of text, got {value!r:.60}")


def _refuse_name(name: str, given: str, resources: Resources) -> None:
    name = name.lower()
    if name in OURS:
        raise ChoiceError(f"{given}: {name} is not for you to say; {OURS[name] or 'weft runs jobs its own way'}")
    word = TWICE.get(name)
    if word is not None and getattr(resources, word):
        raise ChoiceError(f"{given} says the same as {word}=...; leave one of them out")


def names_in(sheet: Sheet) -> dict[str, str]:
    """The names that the user says, each with how it was given."""
    found = {name: f"{name}=..." for name, _ in sheet.options}
    return found | {read_directive(line)[0]: f"setup={line!r:.60}" for line in sheet.setup if is_directive(line)}


def refuse_unused(stderr: str, names: dict[str, str], known: Collection[str] = (*PASSES, *TWICE)) -> None:
    """Raise ChoiceError where ``condor_submit -dry-run`` says that it has no use for one of these names."""
    for match in re.finditer(r"the line '([^\s=]+)\s*=.*' was unused", stderr):
        given = names.get(match[1])
        if given is not None:
            near = difflib.get_close_matches(match[1].lower(), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; an attribute of your own is written +{match[1]}"
            raise ChoiceError(f"{given}: condor_submit knows no {match[1]!r}{hint}")
