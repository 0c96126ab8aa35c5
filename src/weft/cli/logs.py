"""``weft logs``: what a job wrote."""

from __future__ import annotations

import os
import sys
import time
from shlex import quote
from typing import TYPE_CHECKING, BinaryIO

import click

if TYPE_CHECKING:
    from weft.cli.view import SeenJob, View
    from weft.rundir import RunFolder

__all__ = ["command"]

STEP = 0.2  # seconds between looks at a file that grows
ASK = 2.0  # seconds between questions to a batch system
READ = 64 * 1024


@click.command("logs", short_help="what a job wrote", context_settings={"ignore_unknown_options": True})
@click.argument("run")
@click.argument("job")
@click.argument("element", required=False)
@click.option("--follow", "-f", is_flag=True, help="go on until the job is over.")
def command(run: str, job: str, element: str | None, follow: bool) -> None:
    """Print what JOB of RUN wrote to stdout and stderr, and its traceback if it failed.

    Of an array it is one ELEMENT, or all that have written anything, one after the other.

    \b
      weft logs -1 merge
      weft logs -1 estimate 3 --follow
    """
    from weft.cli.view import View
    from weft.errors import ArgumentError
    from weft.rundir import find_run

    folder = find_run(run)
    view = View(folder)
    seen = view.job(job)
    if seen.elements is None:
        if element is not None:
            raise ArgumentError(f"{seen.name} has no array, so it has no element {element!r}")
        place = None
    elif element is not None:
        place = seen.place_of(element)
    elif follow:
        raise ArgumentError(f"{seen.name} has an array; say which element to follow")
    else:
        _print_all(folder, seen)
        return
    with Tail(folder, seen.key, place) as tail:
        if follow:
            _follow(view, seen, place, tail)
        else:
            tail.more()
    if not tail.printed:
        click.echo(_nothing(View(folder), seen.key, place), err=True)


def _print_all(folder: RunFolder, job: SeenJob) -> None:
    assert job.elements is not None
    printed = 0
    for place in job.places:
        title = f"{chr(10) if printed else ''}==> {job.name}[{job.elements[place]}] <==\n"
        with Tail(folder, job.key, place, title) as tail:
            tail.more()
        printed += tail.printed
    if not printed:
        where = f"; it is there since an earlier run: weft logs {job.source} {quote(job.name)}" if job.source else ""
        click.echo(f"no element of {job.name} has written anything{where}", err=True)


def _nothing(view: View, key: str, place: int | None) -> str:
    job = view.jobs[key]
    state = job.states.get(place or 0, job.state)
    if not state.is_end:
        return f"{job.name} has written nothing yet: {state.value}; {view.why(job)}".rstrip("; ")
    if state.value == "up to date" and job.source:
        return f"{job.name} is there since an earlier run: weft logs {job.source} {quote(job.name)}"
    return f"{job.name} has written nothing"


def _follow(view: View, job: SeenJob, place: int | None, tail: Tail) -> None:
    from weft.cli.view import GOES_ON, View

    folder, size, ask_at = view.folder, -1, 0.0
    while True:
        now = _size(folder)
        alone = not folder.is_live() and time.monotonic() >= ask_at
        if now != size or alone:  # else nothing has happened, and there may be many events
            view, size = View(folder), now
            if view.survey is not None:  # which asks a batch system, and writes down what is new
                size, ask_at = _size(folder), time.monotonic() + ASK
        state = view.jobs[job.key].states.get(place or 0)
        tail.more()  # after its state: what a job has written is there before its end is told
        if view.how not in GOES_ON or (state is not None and state.is_end):
            return
        time.sleep(STEP)


def _size(folder: RunFolder) -> int:
    return folder.journal.stat().st_size if folder.journal.exists() else 0


class Tail:
    """What a job has written, as it grows.

    A worker writes to a file of its own; when a try of the job is over, that becomes the job's log, or is added to it.
    So what has been printed is always the beginning of the log with that file behind it. Jobs that share memory with
    their driver write to the log at once.

    Attributes:
        printed: bytes.
    """

    def __init__(self, folder: RunFolder, key: str, place: int | None, title: str = "") -> None:
        from weft.rundir import log_path

        self.printed = 0
        self._folder, self._key, self._place, self._title = folder, key, place, title
        self._log = log_path(folder.path, key, place)
        self._held: BinaryIO | None = None  # the worker's, kept open: it stays the same when it becomes the log

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *_: object) -> None:
        if self._held is not None:
            self._held.close()

    def more(self) -> None:
        """Print what is new."""
        found = self._worker_file()
        if self._held is not None:
            self._copy(self._held)
            if found is not None and _is_same(self._held, found):
                found.close()
                return
            self._held.close()
            self._held = None
        if self._log.exists():
            with self._log.open("rb") as log:
                log.seek(self.printed)
                self._copy(log)
                put_away = found is not None and (_is_same(log, found) or not os.fstat(found.fileno()).st_nlink)
        else:
            put_away = False
        if found is not None and put_away:  # meanwhile, so it has been printed with the log
            found.close()
        elif found is not None:
            self._held = found
            self._copy(found)

    def _worker_file(self) -> BinaryIO | None:
        from weft.rundir import Crew

        workers = self._folder.path / "workers"
        try:
            for crew in workers.iterdir():
                at = Crew(crew).at(self._key, self._place)
                if at is not None:
                    return at.out.open("rb")
        except FileNotFoundError:  # there are none, or what it wrote has just been put away
            pass
        return None

    def _copy(self, file: BinaryIO) -> None:
        out = sys.stdout.buffer
        while part := file.read(READ):
            if self._title:
                click.echo(self._title, nl=False)
                self._title = ""
            out.write(part)
            self.printed += len(part)
        out.flush()


def _is_same(one: BinaryIO, other: BinaryIO) -> bool:
    return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))
