"""``weft cancel``: stop a run."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("cancel", short_help="stop a run", context_settings={"ignore_unknown_options": True})
@click.argument("run")
def command(run: str) -> None:
    """Stop RUN: what runs is ended, what waits is cancelled, what is done stays.

    A cancelled run is not taken over by the next one of its script, as one that was cut short is.

    \b
      weft cancel -1
    """
    from weft.jobs.stop import stop
    from weft.rundir import find_run

    folder = find_run(run)
    if stop(folder):
        click.echo(f"run {folder.name} cancelled")
    else:
        click.echo(f"run {folder.name} is over: there is nothing to cancel")
