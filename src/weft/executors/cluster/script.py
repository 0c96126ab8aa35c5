"""What scripts of all batch systems have in common: parts in the language of the shell, each some lines.

Nothing in a script is known to weft alone: a person can read it, change it, and run it by hand.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from weft.executors.cluster.formats import EXIT_EMPTY
from weft.executors.cluster.system import Sheet
from weft.executors.terms import THREADS

__all__ = ["ODD", "call", "exports", "redirection", "shell", "threads"]

ODD = "[\x00-\x1f\x7f\ud800-\udfff]"  # control characters, and bytes that are no text


def redirection(log: str, element: str) -> list[str]:
    """Have what is written added to a log, of which ``{place}`` is the number of the element."""
    before, found, after = log.rpartition("{place}")
    path = f"{shell(before)}{element}{shell(after)}" if found else shell(log)
    return [f"exec >>{path} 2>&1"]


def exports(env: Iterable[tuple[str, str]]) -> list[str]:
    """Environment variables, as far as the shell can have them."""
    return [f"export {name}={shell(value)}" for name, value in env if _is_exportable(name)]


def _is_exportable(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None and name not in BASH


BASH = {"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID", "_"}  # which are bash's own


def threads(count: str) -> list[str]:
    """So many threads for libraries."""
    lines = ["# As many threads as cpus, where nobody has said otherwise."]
    return lines + [f'export {name}="${{{name}-{count}}}"' for name in THREADS]


def call(sheet: Sheet, element: str, tries: str, *, relays: bool = False) -> list[str]:
    """Run the command of a sheet.

    Args:
        sheet: as it is.
        element: the number of the element, as a word for the shell.
        tries: how often it was run again, in the same way.
        relays: where the system wants it to end, it tells the shell alone.
    """
    # Names that the system takes, but the shell does not.
    odd = [f"{name}={value}" for name, value in sheet.env if not _is_exportable(name)]
    words = [*(["env", "--", *odd] if odd else []), *sheet.command]
    command = f"{' '.join(map(shell, words))} {element}"
    lines = [f"cd {shell(sheet.directory)} || exit"] if sheet.directory else []
    lines.append(f"export WEFT_TRY={tries}")
    return [*lines, *_proven(command, sheet.proof, element, relays)] if sheet.proof else [*lines, f"exec {command}"]


def _proven(command: str, proof: str, element: str, relays: bool) -> list[str]:
    """Lines of shell that run a command, and do not end well unless a file is there then; see `Sheet.proof`."""
    before, _, rest = proof.rpartition("{place}")
    between, _, after = rest.partition("{try}")
    there = f'{shell(before)}{element}{shell(between)}"$WEFT_TRY"{shell(after)}'
    # A trap that does nothing, and not one that ignores: what it runs would be deaf as well, until it listens.
    run = [*RELAY, f"{command} &", *WAIT] if relays else ["trap : TERM", command, "code=$?"]
    return [
        "# Who is told to end is what it runs; this shell stays, and sees what that has left.",
        *run,
        "# A library may have ended the process as if all were well.",
        f'[ "$code" -ne 0 ] || [ -e {there} ] || code={EXIT_EMPTY}',
        '[ "$code" -le 128 ] || { trap - TERM; kill -s "$((code - 128))" $$; }',
        'exit "$code"',
    ]


RELAY = [
    "told= pid=",
    'trap \'told=1; [ -z "$pid" ] || kill -s TERM "$pid" 2>/dev/null\' TERM',
    "set -m  # else what runs beside the shell would be deaf to SIGINT",
]
WAIT = [
    "pid=$!",
    "set +m",
    '[ -z "$told" ] || kill -s TERM "$pid"  # it came just before',
    'while wait "$pid"; code=$?; [ -n "$told" ] && [ "$code" -gt 128 ] && kill -0 "$pid" 2>/dev/null; do :; done',
]


def shell(text: str) -> str:
    """Any text that a path, an argument or a variable can be, as one word for bash, on one line."""
    if not re.search(ODD, text):
        return shlex.quote(text)
    return "$'" + re.sub(rf"{ODD}|[\\']", _escaped, text) + "'"


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if character in "\\'":
        return f"\\{character}"
    # Three digits always, so that a digit after them is not taken for a fourth. A byte that is no text is a surrogate.
    octal = "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character, octal)
