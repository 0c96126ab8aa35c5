"""Stopping a run that another process drives, or that was cut short."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

from weft.errors import RunInUse
from weft.jobs.cluster.systems import is_detached
from weft.jobs.past import is_over
from weft.jobs.scribe import CANCEL
from weft.rundir import Driver, Journal, RunFolder, dismiss, read_journal, write_atomic

__all__ = ["stop"]

LOOK = 0.05  # seconds between looks at the lock of a driver, which is all that tells of its end

# What a driver is told, and for how many seconds it is waited for after that.
WAYS = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


def stop(folder: RunFolder) -> bool:
    """Have a run cancelled, and return when nothing of it is left; False where it was over before it heard of it.

    Raises RunInUse where its driver, or a worker of it, cannot be ended from here, and StorageError.
    """
    if is_over(folder):
        return False
    if is_detached(folder):
        from weft.jobs.cluster.detached import Detached

        return Detached.load(folder).call_off()
    driver = folder.driver()
    if folder.is_live() and driver is not None:
        if driver.host != socket.gethostname():
            raise _in_use(folder, driver, f"is driven by process {driver.pid} on {driver.host}; cancel it there")
        write_atomic(folder.path / CANCEL, b"")  # so that it knows that it is not merely interrupted
        _end(folder, driver)
    # It has been killed before it could say so, or was cut short long ago. Its workers outlive it for a moment.
    if not is_over(folder):
        folder.lock()
        try:
            from weft.jobs.cluster.leftovers import end_leftovers

            end_leftovers(folder.path)
            for crew in dismiss(folder.path, folder.name):
                crew.put_away(folder.path)
            journal = Journal(folder.journal)
            journal.write(t=time.time(), run="cancelled", pid=os.getpid(), host=socket.gethostname())
            journal.close()
        finally:
            folder.unlock()
    ends = [event["run"] for event in read_journal(folder.journal) if "run" in event]
    return bool(ends and ends[-1] == "cancelled")


def _end(folder: RunFolder, driver: Driver) -> None:
    """End the driver. That of a notebook is only interrupted, since it holds more than this run."""
    ways = WAYS if folder.facts().get("script") else WAYS[:1]
    for number, patience in ways:
        if driver.is_gone():  # and its pid may be another process's by now
            break
        if _is_deaf(driver.pid, number):
            continue
        try:
            os.kill(driver.pid, number)
        except ProcessLookupError:
            break
        if _is_free(folder, patience):
            return
    if driver.is_gone():
        if _is_free(folder, WAYS[-1][1]):
            return
        raise _in_use(folder, driver, f"does not end: something holds {folder.path / 'lock'}")
    raise _in_use(
        folder,
        driver,
        f"does not end: process {driver.pid} does not listen; end that, with all that it does: kill {driver.pid}",
    )


def _is_free(folder: RunFolder, patience: float) -> bool:
    end = time.monotonic() + patience
    while folder.is_live():
        if time.monotonic() > end:
            return False
        time.sleep(LOOK)
    return True


def _is_deaf(pid: int, number: int) -> bool:
    """Whether a process ignores a signal, such as SIGINT when a shell has put it into the background."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    ignored = next((line for line in status.splitlines() if line.startswith("SigIgn:")), "SigIgn: 0")
    return bool(int(ignored.split()[1], 16) & 1 << (number - 1))


def _in_use(folder: RunFolder, driver: Driver, what: str) -> RunInUse:
    return RunInUse(f"run {folder.name} {what}", run=folder.name, host=driver.host, pid=driver.pid)
