"""What the commands of this folder share: their options, and how they speak."""

import argparse
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def parser_for(
    doc: str | None, parts: Sequence[str], contenders: Sequence[str], quick: str, on_request: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """Give the options that all commands have. Contenders `on_request` run only where they are named."""
    known = [*contenders, *on_request]
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--only", type=one_of(parts), default=parts, help=f"of {','.join(parts)}")
    parser.add_argument("--contenders", type=one_of(known), default=contenders, help=f"of {','.join(known)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples and findings to FILE")
    return parser


def one_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Give a parser of lists with commas, whose items are all known."""

    def chosen(text: str) -> list[str]:
        names = text.split(",")
        if unknown := ", ".join(name for name in names if name not in known):
            raise argparse.ArgumentTypeError(f"unknown: {unknown}; known: {', '.join(known)}")
        return [name for name in known if name in names]

    return chosen


def machine() -> str:
    implementation = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{implementation}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores; {load()}"


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


def show(lines: Sequence[str]) -> None:
    print("\n".join(lines), flush=True)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
