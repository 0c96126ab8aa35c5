"""Runs commands of a batch system's: with a time limit, out of reach of Ctrl-C."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from weft.executors.cluster.system import Busy, Refused

__all__ = ["LINE", "Answer", "Commands", "in_lines", "run"]

LINE = 100_000  # characters of ids on a command line, and in one of its words; the system takes 131,072 in a word


class Answer(NamedTuple):
    """What a command said."""

    code: int
    stdout: str
    stderr: str
    cut: bool  #: It was ended before it had ended by itself.

    @property
    def complaint(self) -> str:
        """What it said against it, in any case something."""
        return self.stderr.strip() or f"exit code {self.code}, and not a word"


class Commands:
    """Asks the commands of a batch system.

    Args:
        timeout: seconds that each has.
        environment: makes theirs.
        tidy: what is left of what one says on stderr.
    """

    def __init__(
        self, timeout: float, environment: Callable[[], dict[str, str]], tidy: Callable[[str], str] = str.strip
    ) -> None:
        self.timeout = timeout
        self._environment = environment
        self._tidy = tidy

    def run(self, *words: str, stdin: str | None = None) -> Answer:
        """What a command says, and its exit code. Raises Busy where it says nothing in time."""
        answer = run(words, timeout=self.timeout, environment=self._environment(), stdin=stdin)
        if answer.cut:
            raise Busy(f"{words[0]} took longer than {self.timeout:g} s")
        return answer._replace(stderr=self._tidy(answer.stderr))

    def ask(self, *words: str) -> str:
        """What a command prints. Raises Busy where it fails."""
        answer = self.run(*words)
        if answer.code:
            raise Busy(answer.complaint)
        return answer.stdout


def run(
    words: Sequence[str],
    *,
    timeout: float,
    environment: dict[str, str],
    directory: str | None = None,
    stdin: str | None = None,
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
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
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
            return _heard(process, timeout, stdin) if until is None else _heard_until(process, timeout, until)
        except BaseException:
            _end(process)
            raise


def _heard(process: subprocess.Popen[str], timeout: float, stdin: str | None) -> Answer:
    cut = False
    try:
        stdout, stderr = process.communicate(stdin, timeout)
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


def in_lines(words: Iterable[str]) -> Iterator[list[str]]:
    """Words in pieces that fit on a command line."""
    part: list[str] = []
    size = 0
    for word in words:
        if part and size + len(word) > LINE:
            yield part
            part, size = [], 0
        part.append(word)
        size += len(word) + 1
    if part:
        yield part
