"""What ``weft`` offers, and how its parts are found: each is imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

__all__ = ["main"]

COMMANDS = ("run", "status", "logs", "cancel", "clean", "graph")

HELP = """Run scripts with jobs, and look at their runs.

\b
  weft run pipeline.py                 run it
  weft run --dry pipeline.py           see what it would do
  weft status                          the runs of this folder
  weft status -1                       the last one, job by job
  weft logs -1 estimate 3              what element 3 of a job wrote
  weft cancel -1                       stop it
  weft clean --older 7d --commit       delete what is old
  weft graph pipeline.py -o graph.svg  draw it

A RUN is a name as `weft status` shows it, a part of it that no other has, or -1 for the last one, -2 for the one
before. Runs are kept in .weft in the working directory; the variable WEFT_DIR says where else.
"""


class Parts(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"weft.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            if args[0].endswith(".py"):
                hint = f"; write: weft run {args[0]}"
            ctx.fail(f"there is no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        from weft.errors import WeftError

        try:
            return super().invoke(ctx)
        except WeftError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Parts, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(None, "-V", "--version", package_name="weft", prog_name="weft")
def _weft() -> None:
    pass


def main() -> None:
    """The entry point."""
    _weft(prog_name="weft")
