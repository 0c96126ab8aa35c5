"""Write the atlas down: ``atlas.json`` to compute with, ``atlas.svg`` to look at."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from atlas.imports import ImportGraph
from atlas.picture import draw
from atlas.survey import Package
from atlas.words import printable
from weft import task


@dataclass(frozen=True)
class Atlas:
    """What was found, and where it is written."""

    packages: tuple[Package, ...]
    graph: ImportGraph
    json: str
    svg: str


@task
def publish(title: str, root: str, packages: list[Package], graph: ImportGraph, output: str) -> Atlas:
    """Write ``atlas.json`` and ``atlas.svg`` into the directory ``output``: the same bytes for the same sources."""
    facts = {"title": title, "root": printable(root), **_totals(packages), **_findings(packages, graph)}
    data = _write(Path(output, "atlas.json"), json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    picture = _write(Path(output, "atlas.svg"), draw(title, f"Sources: {printable(root)}.", packages, graph))
    return Atlas(tuple(packages), graph, data, picture)


def _totals(packages: list[Package]) -> dict[str, int]:
    return {
        "files": sum(package.files for package in packages),
        "lines": sum(package.lines for package in packages),
        "functions": sum(package.functions for package in packages),
        "classes": sum(package.classes for package in packages),
    }


def _findings(packages: list[Package], graph: ImportGraph) -> dict[str, object]:
    placed = zip(graph.layers, graph.dependents, graph.ranks, strict=True)
    of_graph = dict(zip(graph.names, placed, strict=True))
    return {
        "layers": max(graph.layers) + 1,
        "units": [_unit(package, *of_graph[package.name]) for package in packages],
        "cycles": graph.cycles,
        "late_cycles": graph.late_cycles,
        "outside": dict(graph.outside),
        "unparsed": dict(error for package in packages for error in package.errors),
    }


def _unit(package: Package, layer: int, dependents: int, rank: float) -> dict[str, object]:
    facts = asdict(package) | {"layer": layer, "dependents": dependents, "rank": rank}
    return facts | {key: dict(facts[key]) for key in ("imports", "deferred", "outside", "errors")}


def _write(path: Path, text: str) -> str:
    # Beside it and then in its place: whoever looks at the picture meanwhile never sees half of one.
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
    return str(path)
