"""``weft clean``: delete old runs, and what executors on a cluster have kept."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weft.executors.cluster.kept import KeptFolder
    from weft.rundir import RunFolder

__all__ = ["command"]


@click.command("clean", short_help="delete old runs")
@click.option("--older", default="7d", metavar="TIME", show_default=True, help="such as 7d, 12h, 30m: older than this.")
@click.option("--commit", is_flag=True, help="delete them; without this they are listed only.")
def command(older: str, commit: bool) -> None:
    """Delete runs that are older than a time, with their results and logs.

    Without --commit nothing is deleted, and what would be is listed. A run that goes on is never deleted. Files that
    jobs made elsewhere stay. Folders of executors on a cluster are taken, too, unless they are in use, or jobs of
    theirs may still be in the queue.

    \b
      weft clean                       what is older than a week
      weft clean --older 1d --commit   delete what is older than a day
    """
    from weft.cli.words import age, run_name, size
    from weft.errors import UserError
    from weft.resources import Resources
    from weft.rundir import remove_rests

    try:
        limit = 0.0 if older in ("0", "0s", "0d") else Resources.read("clean", time=older).time or 0.0
    except UserError:
        raise click.BadParameter(f"{older!r} is no time such as 7d, 12h or 30m", param_hint="--older") from None
    now = time.time()
    old = [*_runs_over(now - limit), *_executors_over(now - limit)]
    wide = max((len(run_name(_title(folder))) for folder in old), default=0)
    taken: list[RunFolder] = []
    total = 0
    for folder in old:
        room, changed = folder.size(), folder.last_change()
        if commit and not _removed(folder):
            continue
        taken.append(folder)
        total += room
        click.echo(f"{run_name(_title(folder)):<{wide}}  {size(room):>8}  {age(now - changed)}")
    if commit:
        remove_rests()
    if not old:
        click.echo(f"no runs that are over are older than {older}")
    elif commit:
        click.echo(f"{_counted(taken)} deleted, {size(total)}")
    else:
        click.echo(f"{_counted(taken)}, {size(total)}; to delete: weft clean --older {older} --commit")
    if len(taken) < len(old):
        sys.exit(1)


def _runs_over(until: float) -> list[RunFolder]:
    """The runs that are over and in which nothing has happened since, the oldest first."""
    from weft.errors import StorageError
    from weft.jobs.cluster.detached import goes_on
    from weft.rundir import all_runs
    from weft.rundir.place import check_folder

    found = []
    for run in reversed(all_runs()):
        try:
            if run.last_change() <= until:
                check_folder(run.path)
                # Of one that has ended unnoticed that is found out now, and when it was.
                if not goes_on(run) and run.last_change() <= until:
                    found.append(run)
        except StorageError as error:  # not the user's, so it is not ours to delete
            _stays(run, error)
    return found


def _executors_over(until: float) -> list[KeptFolder]:
    """The folders of executors of which nothing is in the queue, and in which nothing has happened since."""
    from weft.errors import StorageError
    from weft.executors.cluster.kept import kept_folders
    from weft.rundir.place import check_folder

    found = []
    for folder in kept_folders():
        try:
            if folder.last_change() > until:
                continue
            check_folder(folder.path)
            if folder.is_live():
                continue
            if folder.is_over():
                found.append(folder)
            else:
                click.echo(
                    f"{_title(folder)} stays: not all of its calls have an outcome, so jobs of it may be in the queue; "
                    "take them up with attach, or delete the folder yourself",
                    err=True,
                )
        except StorageError as error:
            _stays(folder, error)
    return found


def _title(folder: RunFolder) -> str:
    return f"{folder.path.parent.name}/{folder.name}" if _is_executor(folder) else folder.name


def _is_executor(folder: RunFolder) -> bool:
    from weft.executors.cluster.kept import KeptFolder

    return isinstance(folder, KeptFolder)


def _counted(folders: Sequence[RunFolder]) -> str:
    """Such as ``2 runs and 1 executor``."""
    from weft.cli.words import counted

    executors = sum(map(_is_executor, folders))
    runs = len(folders) - executors
    parts = [counted(runs, "run")] if runs or not executors else []
    return " and ".join([*parts, *([counted(executors, "executor")] if executors else [])])


def _removed(run: RunFolder) -> bool:
    from weft.errors import RunInUse, StorageError

    try:
        run.remove()
    except (RunInUse, StorageError) as error:
        _stays(run, error)
        return False
    return True


def _stays(run: RunFolder, error: Exception) -> None:
    click.echo(f"{_title(run)} stays: {error}", err=True)
