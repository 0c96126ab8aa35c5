"""``weft run``: a script with jobs, where the command line says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

__all__ = ["command"]


@click.command("run", context_settings={"ignore_unknown_options": True}, short_help="run a script with jobs")
@click.option(
    "--backend", "-b", metavar="NAME", help="where jobs run: local (default), threads, serial, slurm, condor, dry."
)
@click.option("--dry", is_flag=True, help="run nothing, and print what would be run.")
@click.argument("script", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(backend: str | None, dry: bool, script: Path, args: tuple[str, ...]) -> None:
    """Run SCRIPT with Python, as `python SCRIPT` does; ARGS are for the script.

    Where the script's `schedule` names no backend, --backend does.

    \b
      weft run pipeline.py
      weft run --backend threads pipeline.py
      weft run --dry pipeline.py -- --samples 10
      weft run --dry --backend slurm pipeline.py
    """
    from weft.jobs.backends import DEFAULT, DRY, NAMES, check_backend

    if backend is not None:
        try:
            check_backend("--backend", backend)
        except ValueError:
            raise click.UsageError(f"--backend must be one of {', '.join(NAMES)}, not {backend!r}") from None
        os.environ[DEFAULT] = backend
    if dry:
        os.environ[DEFAULT] = "dry" if backend in (None, "dry") else f"{DRY}{backend}"
    sys.stdout.flush()
    # The script takes the place of this process: what it is given, and how it ends, is as if there had been no weft.
    os.execv(sys.executable, [sys.executable, str(script), *args])
