"""``weft cancel``: stop a run."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from weft.rundir import RunFolder

__all__ = ["command"]

STEP = 0.05  # seconds between looks at the lock of a driver, which is all that tells of its end

# What a driver is told, and for how many seconds it is waited for after that. Some do not hear the first: a script that
# a shell has put into the background ignores it.
WAYS = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


@click.command("cancel", short_help="stop a run", context_settings={"ignore_unknown_options": True})
@click.argument("run")
def command(run: str) -> None:
    """Stop RUN: what runs is ended, what waits is cancelled, what is done stays.

    A cancelled run is not taken over by the next one of its script, as one that was cut short is.

    \b
      weft cancel -1
    """
    from weft.jobs.past import is_over
    from weft.jobs.scribe import CANCEL
    from weft.rundir import Journal, find_run, write_atomic

    folder = find_run(run)
    driver = folder.driver()
    if not folder.is_live() or driver is None:
        click.echo(f"run {folder.name} is over: there is nothing to cancel")
        return
    if driver.host != socket.gethostname():
        raise click.ClickException(
            f"run {folder.name} is driven by process {driver.pid} on {driver.host}; cancel it there"
        )
    write_atomic(folder.path / CANCEL, b"")  # so that it knows that it is not merely interrupted
    if driver.is_gone() or not _end(folder, driver.pid):
        raise click.ClickException(
            f"run {folder.name} does not end; its driver is process {driver.pid}, and something holds "
            f"{folder.path / 'lock'}"
        )
    if not is_over(folder):  # it was killed before it could say so
        folder.lock()
        journal = Journal(folder.journal)
        journal.write(t=time.time(), run="cancelled")
        journal.close()
        folder.unlock()
    click.echo(f"run {folder.name} cancelled")


def _end(folder: RunFolder, pid: int) -> bool:
    for number, patience in WAYS:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if not folder.is_live():
                return True
            time.sleep(STEP)
    return False
