"""The command ``weft``: run scripts, and look at runs, follow, cancel and clean them, from a terminal."""

from weft.cli.group import main

__all__ = ["main"]
