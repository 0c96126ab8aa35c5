"""What a user may say of a cluster: its shape, and settings, ``tools/slurm up --nodes 2 KillWait=30``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from onemachine.trouble import Trouble


@dataclass(frozen=True)
class Shape:
    """What a cluster is to look like."""

    nodes: int
    cpus: int = 8  # of each node
    memory: int = 16_000  # MB of each node
    settings: tuple[tuple[str, str], ...] = ()  # which take the place of ours

    @property
    def names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    def __str__(self) -> str:
        return f"{self.nodes} nodes of {self.cpus} CPUs and {self.memory} MB"


@dataclass(frozen=True)
class Settings:
    """What may be set, and what it is when nobody says so.

    Attributes
    ----------
    values
        Those that we set, in the batch system's spelling. What it knows beside them may be set, too.
    form
        What a key looks like: a regular expression.
    ours
        Keys, in lower case, that are up to the tool: ``KEY is {ours_are}``.
    wrong
        What is said of a word that is no setting: ``'WORD' is no setting: {wrong}``.
    """

    values: Mapping[str, str]
    form: str
    ours: Collection[str]
    ours_are: str
    wrong: str

    def read(self, words: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """From ``KEY=VALUE``; the last one of a key holds."""
        spelling = {key.lower(): key for key in self.values}
        settings: dict[str, str] = {}
        for word in words:
            key, sign, value = word.partition("=")
            if not sign or not re.fullmatch(self.form, key) or "\n" in value or value.endswith("\\"):
                raise Trouble(f"{word!r} is no setting: {self.wrong}")
            if key.lower() in self.ours:
                raise Trouble(f"{key} is {self.ours_are}")
            settings[spelling.get(key.lower(), key)] = value
        return tuple(settings.items())

    def told(self) -> str:
        """As help texts list them."""
        lines = [f"  {key}={value}" for key, value in self.values.items() if len(value) < 40]
        return "settings, as they are when you say nothing:\n" + "\n".join(lines)
