"""Runs a command of Slurm's: with a time limit, out of reach of Ctrl-C, in an environment that leaves nothing open."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from weft.executors.cluster.slurm_text import read_config, tidy
from weft.executors.cluster.system import Busy, Refused

__all__ = ["Answer", "Commands", "asking", "run", "submitting"]


class Answer(NamedTuple):
    """What a command said."""

    code: int
    stdout: str
    stderr: str
    cut: bool  #: It was ended before it had ended by itself.

    @property
    def complaint(self) -> str:
        """What it said against it, in any case something."""
        return tidy(self.stderr) or f"exit code {self.code}, and not a word"


class Commands:
    """Asks Slurm's commands."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout  #: seconds
        self._configuration: dict[str, str] = {}

    def run(self, *words: str) -> Answer:
        """What a command says, and its exit code. Raises Busy where it says nothing in time."""
        answer = run(words, timeout=self.timeout, environment=asking())
        if answer.cut:
            raise Busy(f"{words[0]} took longer than {self.timeout:g} s")
        return answer

    def ask(self, *words: str) -> str:
        """What a command prints. Raises Busy where it fails."""
        answer = self.run(*words)
        if answer.code:
            raise Busy(answer.complaint)
        return answer.stdout

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


def run(
    words: Sequence[str],
    *,
    timeout: float,
    environment: dict[str, str],
    directory: str | None = None,
    until: re.Pattern[str] | None = None,
) -> Answer:
    """Run a command, for so many seconds at most, and only until it says this on stderr.

    Raises:
        Busy: it cannot be started.
        Refused: nor ever, since its words are too long.
    """
    try:
        # In a session of its own: a Ctrl-C is for us, and who is between sbatch and its answer must not lose it.
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=directory,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        what = f"{words[0]} cannot be run: {error.strerror or error}"
        raise (Refused(what) if error.errno == errno.E2BIG else Busy(what)) from None
    with process:
        try:
            return _heard(process, timeout) if until is None else _heard_until(process, timeout, until)
        except BaseException:
            _end(process)
            raise


def _heard(process: subprocess.Popen[str], timeout: float) -> Answer:
    cut = False
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        cut = True
        _end(process)
        stdout, stderr = process.communicate()
    return Answer(process.returncode, stdout, stderr, cut)


def _heard_until(process: subprocess.Popen[str], timeout: float, until: re.Pattern[str]) -> Answer:
    """For what says little on stdout."""
    assert process.stderr is not None
    assert process.stdout is not None
    over = threading.Event()

    def end() -> None:
        over.set()
        _end(process)

    timer = threading.Timer(timeout, end)
    timer.daemon = True
    timer.start()
    try:
        stderr = ""
        for line in process.stderr:
            stderr += line
            if until.search(line):
                end()
        stdout = process.stdout.read()
        code = process.wait()
    finally:
        timer.cancel()
    return Answer(code, stdout, stderr, over.is_set())


def _end(process: subprocess.Popen[str]) -> None:
    """With what it has started: sites put scripts in the place of commands."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


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
