"""``weft graph``: a picture of the jobs of a script, or of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from weft.cli.view import SeenJob
    from weft.display.graph import Node

__all__ = ["command"]


@click.command("graph", short_help="draw the jobs", context_settings={"ignore_unknown_options": True})
@click.argument("source", metavar="SCRIPT|RUN")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="a file: .svg, .mmd or .dot.")
def command(source: str, args: tuple[str, ...], output: Path | None) -> None:
    """Draw the jobs of SCRIPT (of its first schedule, which runs nothing), or of a RUN with their states.

    The name of the file says what is drawn: SVG for browsers, Mermaid for Markdown, Graphviz for dot. Without
    --output, Mermaid goes to the terminal. Full lines ask for success, dashed ones for failure, dotted ones for either.

    \b
      weft graph pipeline.py -o graph.svg
      weft graph -1 -o graph.dot
    """
    from weft.display.graph import FORMATS, drawn

    how = "mmd" if output is None else output.suffix.lstrip(".")
    if how not in FORMATS:
        raise click.BadParameter(
            f"{output} must end in {', '.join('.' + known for known in FORMATS)}", param_hint="--output"
        )
    text = drawn(_nodes(source, args), how)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {output}: {error.strerror}") from error
    click.echo(f"wrote {output}", err=True)


def _nodes(source: str, args: tuple[str, ...]) -> list[Node]:
    from weft.cli.view import View
    from weft.display.graph import Node
    from weft.rundir import find_run

    if source.endswith(".py"):
        jobs = _sketched(source, args)
        shown = {key: "up to date" if job.state.value == "up to date" else "" for key, job in jobs.items()}
    else:
        jobs = View(find_run(source)).jobs
        shown = {key: job.state.value for key, job in jobs.items()}
    return [
        Node(
            key,
            job.name,
            None if job.elements is None else len(job.places),
            shown[key],
            {dep: status for dep, status in job.edges if dep in jobs},
        )
        for key, job in jobs.items()
    ]


def _sketched(script: str, args: tuple[str, ...]) -> dict[str, SeenJob]:
    """Run a script up to its first schedule, which says what it would have run."""
    import json

    from weft.cli.view import SeenJob
    from weft.jobs.facts import SKETCH

    if not Path(script).is_file():
        raise click.ClickException(f"there is no script {script}")
    with TemporaryDirectory(prefix="weft-") as folder:
        sketch = Path(folder, "jobs.json")
        done = subprocess.run(
            [sys.executable, script, *args],
            env={**os.environ, SKETCH: str(sketch)},
            stdout=2,
            check=False,  # what it prints is not the picture
        )
        if not sketch.exists():
            how = f"it ended with exit code {done.returncode}" if done.returncode else "it has called no schedule(...)"
            raise click.ClickException(f"{script} has no graph to show: {how}")
        return {job["key"]: SeenJob(job) for job in json.loads(sketch.read_text())}
