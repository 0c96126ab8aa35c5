"""``weft logs``: what a job wrote."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from weft.cli.view import SeenJob, View
    from weft.rundir import RunFolder

__all__ = ["command"]

STEP = 0.2  # seconds between looks at a file that grows
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
    if follow:
        _follow(folder, seen, place)
        return
    path = _path(folder, seen.key, place)
    if path is None:
        click.echo(_nothing(view, seen, place), err=True)
    else:
        _print(path, 0)


def _print_all(folder: RunFolder, job: SeenJob) -> None:
    assert job.elements is not None
    first = True
    for place in job.places:
        path = _path(folder, job.key, place)
        if path is not None:
            click.echo(f"{'' if first else chr(10)}==> {job.name}[{job.elements[place]}] <==")
            _print(path, 0)
            first = False
    if first:
        click.echo(f"no element of {job.name} has written anything", err=True)


def _nothing(view: View, job: SeenJob, place: int | None) -> str:
    state = job.states.get(place or 0, job.state)
    if state.is_end:
        return f"{job.name} has written nothing"
    return f"{job.name} has written nothing yet: {state.value}; {view.why(job)}".rstrip("; ")


def _path(folder: RunFolder, key: str, place: int | None) -> Path | None:
    """Its log; while it runs, what its worker has put down so far."""
    from weft.rundir import Crew, log_path

    log = log_path(folder.path, key, place)
    workers = folder.path / "workers"
    if workers.is_dir():
        for crew in workers.iterdir():
            at = Crew(crew).at(key, place)
            if at is not None:
                return at.out
    return log if log.exists() else None


def _follow(folder: RunFolder, job: SeenJob, place: int | None) -> None:
    from weft.cli.view import View

    printed = 0
    while True:
        view = View(folder)
        now = view.jobs[job.key].states.get(place or 0)
        path = _path(folder, job.key, place)
        if path is not None:
            try:
                printed = _print(path, printed)
            except FileNotFoundError:  # it has just become the log
                continue
        if (now is not None and now.is_end) or view.how != "running":
            if path is None:
                click.echo(f"{job.name} has written nothing", err=True)
            return
        time.sleep(STEP)


def _print(path: Path, start: int) -> int:
    """From a byte on; up to which."""
    out = sys.stdout.buffer
    with path.open("rb") as file:
        file.seek(start)
        while part := file.read(READ):
            out.write(part)
        start = file.tell()
    out.flush()
    return start
