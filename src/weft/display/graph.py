"""A graph of jobs as a picture (SVG), as Mermaid and as Graphviz text.

The picture has a row for each layer: a job stands one row below the lowest job that it comes after. Within a row jobs
stand near what they come after, so that few lines cross (by barycentres, as in Sugiyama, Tagawa, Toda 1981). A line to
a row further down has a place of its own in each row between, so that it does not run behind a job.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

from weft.engine.graph import topological_order

__all__ = ["FORMATS", "Node", "drawn"]

CHARACTER, HIGH, PAD = 7.5, 34, 14  # pixels: of a character, of a box, beside its text
ACROSS, DOWN, MARGIN = 22, 44, 20  # pixels between boxes, between rows, around all
SHEET = 3  # pixels by which a sheet of a stack stands out
THIN = 4  # pixels for a line that passes a row
PASSES = 10_000  # such places, at most; the lines of a graph that needs more run behind jobs
SWEEPS = 4
LONGEST = 40  # characters of a name in a box

#: Fill and border by state; the state is written in the box as well, for those who do not see the colours.
COLOURS = {
    "succeeded": ("#e3f4e3", "#3a8a3a"),
    "up to date": ("#eef3ee", "#8aa88a"),
    "running": ("#e2edfb", "#2f6fbf"),
    "failed": ("#fbe3e3", "#bf2f2f"),
    "cancelled": ("#f6ead9", "#b07a20"),
    "unreachable": ("#f0f0f0", "#909090"),
}
PLAIN = ("#ffffff", "#555555")
DASHES = {"failure": ' stroke-dasharray="6 3"', "any": ' stroke-dasharray="2 3"'}


class Node(NamedTuple):
    """A job in a picture."""

    key: str
    name: str
    elements: int | None = None  #: Of its array; None where it has none.
    state: str = ""
    after: Mapping[str, str] = {}  #: From the key of each job that it comes after to the status that is asked.

    @property
    def label(self) -> str:
        """What stands in its box."""
        name = " ".join(self.name.split()) or "?"
        name = name if len(name) <= LONGEST else name[: LONGEST - 3] + "..."
        return name if self.elements is None else f"{name} x {self.elements}"


def drawn(nodes: Sequence[Node], how: str) -> str:
    """The graph as text of the format `how`, one of `FORMATS`."""
    return FORMATS[how](nodes)


# Graphviz and Mermaid --------------------------------------------------------------------------------------


def _dot(nodes: Sequence[Node]) -> str:
    styles = {"failure": "dashed", "any": "dotted"}
    lines = ["digraph jobs {", "  node [shape=box, style=filled, fontname=sans];"]
    for node in nodes:
        fill, border = COLOURS.get(node.state, PLAIN)
        label = node.label + (f"\n{node.state}" if node.state else "")
        lines.append(
            f"  {_quoted(node.key)} [label={_quoted(label)}, fillcolor={_quoted(fill)}, color={_quoted(border)}];"
        )
    for node in nodes:
        for dep, status in node.after.items():
            style = f" [style={styles[status]}, label={status}]" if status in styles else ""
            lines.append(f"  {_quoted(dep)} -> {_quoted(node.key)}{style};")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _mermaid(nodes: Sequence[Node]) -> str:
    places = {node.key: f"n{place}" for place, node in enumerate(nodes)}
    lines = ["flowchart TD"]
    for node in nodes:
        label = html.escape(node.label, quote=True).replace("&#x27;", "'") + (
            f"<br/>{node.state}" if node.state else ""
        )
        lines.append(f'  {places[node.key]}["{label}"]')
    for node in nodes:
        for dep, status in node.after.items():
            arrow = f"-. {status} .->" if status in DASHES else "-->"
            lines.append(f"  {places[dep]} {arrow} {places[node.key]}")
    return "\n".join(lines) + "\n"


# SVG -------------------------------------------------------------------------------------------------------


class _Box(NamedTuple):
    x: float  # of its left side
    y: float
    wide: float
    sheets: int  # of paper; an array is a stack of them

    @property
    def top(self) -> float:
        return self.y - SHEET * (self.sheets - 1)

    @property
    def middle(self) -> float:
        return self.x + self.wide / 2


def _svg(nodes: Sequence[Node]) -> str:
    boxes, passes = _laid_out(nodes)
    everything = [*boxes.values(), *chain.from_iterable(passes.values())]
    width = max((box.x + box.wide for box in everything), default=0) + MARGIN
    height = max((box.y + HIGH for box in everything), default=0) + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="sans-serif" font-size="13">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#777"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
    ]
    for node in nodes:
        for dep, status in node.after.items():
            lines.append(_curve([boxes[dep], *passes.get((dep, node.key), ()), boxes[node.key]], status))
    for node in nodes:
        lines += _box(node, boxes[node.key])
    return "\n".join([*lines, "</svg>"]) + "\n"


def _curve(boxes: Sequence[_Box], status: str) -> str:
    """A line from the first to the last, straight down through those between."""
    way = ""
    for start, end in pairwise(boxes):
        top, bottom = start.y + HIGH, end.top
        bend = (bottom - top) / 2
        way += f"{'L' if way else 'M'}{start.middle:.0f} {top:.0f}C{start.middle:.0f} {top + bend:.0f} "
        way += f"{end.middle:.0f} {bottom - bend:.0f} {end.middle:.0f} {bottom:.0f}"
    return (
        f'<path d="{way}" fill="none" stroke="#777" marker-end="url(#tip)"{DASHES.get(status, "")}>'
        f"<title>{html.escape(status)}</title></path>"
    )


def _box(node: Node, box: _Box) -> list[str]:
    fill, border = COLOURS.get(node.state, PLAIN)
    lines = [
        f'<rect x="{box.x + by:.0f}" y="{box.y - by:.0f}" width="{box.wide:.0f}" height="{HIGH}" rx="5" fill="{fill}" '
        f'stroke="{border}"/>'
        for by in range(SHEET * (box.sheets - 1), -1, -SHEET)
    ]
    down = box.y + (15 if node.state else 21)
    text = f'<text x="{box.middle:.0f}" y="{down:.0f}" text-anchor="middle">{_escaped(node.label)}'
    lines.append(f"{text}<title>{_escaped(node.name)}</title></text>")
    if node.state:
        lines.append(
            f'<text x="{box.middle:.0f}" y="{box.y + 28:.0f}" text-anchor="middle" font-size="10" fill="{border}">'
            f"{_escaped(node.state)}</text>"
        )
    return lines


def _escaped(text: str) -> str:
    """For XML 1.0, which has no way to write some characters at all."""
    return html.escape(re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text))


_Item = str | tuple[str, str, int]  # a job by its key; or a line, from one to another, where it passes a row


class _Layout(NamedTuple):
    boxes: dict[str, _Box]
    passes: dict[tuple[str, str], list[_Box]]  # by the ends of a line: where it passes the rows between


def _laid_out(nodes: Sequence[Node]) -> _Layout:
    after, rows = _rows({node.key: tuple(node.after) for node in nodes})
    _untangle(after, rows)
    wide: dict[_Item, float] = {
        node.key: 2 * PAD + CHARACTER * max(_columns(node.label), len(node.state) * 0.8) for node in nodes
    }
    sheets = {node.key: 3 for node in nodes if node.elements is not None}
    across = [sum(wide.get(item, THIN) + ACROSS for item in row) - ACROSS for row in rows]
    most = max(across, default=0.0)
    layout = _Layout({}, {})
    for depth, (row, taken) in enumerate(zip(rows, across, strict=True)):
        x = MARGIN + (most - taken) / 2
        for item in row:
            y = MARGIN + depth * (HIGH + DOWN)
            if isinstance(item, str):
                layout.boxes[item] = _Box(x, y, wide[item], sheets.get(item, 1))
            else:
                layout.passes.setdefault(item[:2], []).append(_Box(x, y, THIN, 1))
            x += wide.get(item, THIN) + ACROSS
    return layout


def _rows(deps: Mapping[str, Sequence[str]]) -> tuple[dict[_Item, list[_Item]], list[list[_Item]]]:
    """What each item comes after, and the rows, both with lines that pass rows."""
    depths: dict[str, int] = {}
    for key in topological_order(deps):
        depths[key] = max((depths[dep] + 1 for dep in deps[key]), default=0)
    rows: list[list[_Item]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
    for key in deps:  # in the order in which they were given
        rows[depths[key]].append(key)
    after: dict[_Item, list[_Item]] = {key: [] for key in deps}
    room = PASSES
    for key in deps:
        for dep in deps[key]:
            last: _Item = dep
            between = range(depths[dep] + 1, depths[key])
            room -= len(between)
            for depth in between if room >= 0 else ():
                item = (dep, key, depth)
                rows[depth].append(item)
                after[item] = [last]
                last = item
            after[key].append(last)
    return after, rows


def _untangle(after: Mapping[_Item, Sequence[_Item]], rows: Sequence[list[_Item]]) -> None:
    """Put the items of each row into an order in which they are near what they are linked to."""
    before: dict[_Item, list[_Item]] = {item: [] for item in after}
    for item, deps in after.items():
        for dep in deps:
            before[dep].append(item)
    where = {item: float(place) for row in rows for place, item in enumerate(row)}
    for sweep in range(SWEEPS):
        down = not sweep % 2
        near = after if down else before
        for row in rows if down else reversed(rows):
            centre = {item: _mean([where[other] for other in near[item]], where[item]) for item in row}
            row.sort(key=centre.__getitem__)
            where.update({item: float(place) for place, item in enumerate(row)})


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


FORMATS = {"svg": _svg, "mmd": _mermaid, "dot": _dot}
