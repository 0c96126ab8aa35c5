"""``weft clean``: delete old runs."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from weft.rundir import RunFolder

__all__ = ["command"]


@click.command("clean", short_help="delete old runs")
@click.option("--older", default="7d", metavar="TIME", show_default=True, help="such as 7d, 12h, 30m: older than this.")
@click.option("--commit", is_flag=True, help="delete them; without this they are listed only.")
def command(older: str, commit: bool) -> None:
    """Delete runs that are older than a time, with their results and logs.

    Without --commit nothing is deleted, and what would be is listed. A run that goes on is never deleted. Files that
    jobs made elsewhere stay.

    \b
      weft clean                       what is older than a week
      weft clean --older 1d --commit   delete what is older than a day
    """
    from weft.cli.words import age, counted, run_name, size
    from weft.errors import UserError
    from weft.resources import Resources
    from weft.rundir import remove_rests

    try:
        limit = 0.0 if older in ("0", "0s", "0d") else Resources.read("clean", time=older).time or 0.0
    except UserError:
        raise click.BadParameter(f"{older!r} is no time such as 7d, 12h or 30m", param_hint="--older") from None
    now = time.time()
    old = _over(now - limit)
    wide = max((len(run_name(run.name)) for run in old), default=0)
    count, total = 0, 0
    for run in old:
        taken, changed = run.size(), run.last_change()
        if commit and not _removed(run):
            continue
        count, total = count + 1, total + taken
        click.echo(f"{run_name(run.name):<{wide}}  {size(taken):>8}  {age(now - changed)}")
    if commit:
        remove_rests()
    if not old:
        click.echo(f"no runs that are over are older than {older}")
    elif commit:
        click.echo(f"{counted(count, 'run')} deleted, {size(total)}")
    else:
        click.echo(f"{counted(count, 'run')}, {size(total)}; to delete: weft clean --older {older} --commit")
    if count < len(old):
        sys.exit(1)


def _over(until: float) -> list[RunFolder]:
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


def _removed(run: RunFolder) -> bool:
    from weft.errors import RunInUse, StorageError

    try:
        run.remove()
    except (RunInUse, StorageError) as error:
        _stays(run, error)
        return False
    return True


def _stays(run: RunFolder, error: Exception) -> None:
    click.echo(f"{run.name} stays: {error}", err=True)
