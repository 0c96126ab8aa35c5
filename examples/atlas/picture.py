"""Draw the atlas: one self-contained SVG, the same bytes for the same input."""

import math
from collections.abc import Collection, Iterator
from html import escape
from textwrap import wrap

from atlas.imports import ImportGraph
from atlas.layout import SMALLEST, Spot, lay_out
from atlas.survey import Package
from atlas.words import count

WIDTH, HEIGHT = 1600, 1000
HUB = (800.0, 926.0)
FAN = (756.0, 868.0)
"""How far the fan may reach from its hub: to each side, and up."""
HEADING, LEGEND = (470.0, 268.0), (330.0, 310.0)
"""Width and height of the corners, top left and top right, that the fan keeps out of."""
LARGEST, MORE = 150.0, 5.0
"""Radius in pixels that no circle exceeds, however few there are, and how much more each of them allows."""
ROOM = 36.0
"""The same for circles in the legend."""
UNITS, THREADS = 320, 2500
"""What is drawn at most: the largest units, the strongest imports."""

PAPER, INK, THREAD, ACCENT = "#f7f3ea", "#2b3a42", "#4d7078", "#d8572a"
DEPTHS = ("#e9dfc6", "#d6d5bb", "#bccbb4", "#9dbfae", "#7db0a8", "#54969a", "#458a95", "#347487", "#2a5e75", "#234a60")
"""Fill by nesting depth, from 1 or less to 10 or more."""
HOW_TO_READ_IT = (
    "A circle is a module or package, its area",
    "the lines in it. It lies further out than all",
    "that it imports, cycles aside.",
)
SERIF = "Georgia, 'Iowan Old Style', 'Liberation Serif', 'DejaVu Serif', serif"
SANS = "'Avenir Next', 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"


def draw(title: str, note: str, packages: list[Package], graph: ImportGraph) -> str:
    """Draw the picture; ``note`` says at its foot where the sources come from."""
    drawn = sorted(packages, key=lambda package: (-package.lines, package.name))[:UNITS]
    fan = _Fan(drawn, graph)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" font-family="{SANS}">',
        f"<title>{escape(title)}</title>",
        f"<style>path:hover {{ stroke: {ACCENT}; stroke-opacity: 1 }} g:hover > circle {{ stroke: {INK} }}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>',
        *fan.threads(),
        *fan.circles(),
        *_heading(title, packages, graph),
        *_legend(fan, graph),
        *_foot(note, fan, len(packages) - len(drawn)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Fan:
    """The drawn units on the paper: their circles and the threads between them."""

    def __init__(self, packages: list[Package], graph: ImportGraph) -> None:
        self.packages = packages
        names = {package.name for package in packages}
        self.layers = dict(zip(graph.names, graph.layers, strict=True))
        self.dependents = dict(zip(graph.names, graph.dependents, strict=True))
        self.edges = [edge for edge in graph.edges if edge[0] in names and edge[1] in names]
        self.circle = frozenset(graph.cycles[0]) if graph.cycles else frozenset[str]()
        imports: dict[str, set[str]] = {name: set() for name in names}
        for importer, imported, _ in self.edges:
            imports[importer].add(imported)
        spots = lay_out({package.name: package.lines for package in packages}, self.layers, imports)
        self.scale = _scale(spots.values())
        self.spots = {name: _on_paper(spot, self.scale) for name, spot in spots.items()}

    def threads(self) -> Iterator[str]:
        """One thread per import, faintest first; those of the largest cycle on top, in the accent."""
        strongest = sorted(self.edges, key=lambda edge: (-edge[2], edge))[:THREADS]
        strongest.sort(key=lambda edge: ({edge[0], edge[1]} <= self.circle, edge[2], edge))
        opacity = min(max(0.17, 4.0 / math.sqrt(max(1, len(strongest)))), 0.7)
        yield '<g fill="none" stroke-linecap="round">'
        for importer, imported, files in strongest:
            inside = {importer, imported} <= self.circle
            width, colour = (1.8, ACCENT) if inside else (0.5 + 0.35 * math.sqrt(files), THREAD)
            told = f"{importer} imports {imported}" + (f" in {files} files" if files > 1 else "")
            yield (
                f'<path d="{_thread(self.spots[importer], self.spots[imported])}" stroke="{colour}" '
                f'stroke-width="{width:.2f}" stroke-opacity="{0.85 if inside else opacity:.2f}">'
                f"<title>{escape(told)}</title></path>"
            )
        yield "</g>"

    def circles(self) -> Iterator[str]:
        """One circle per unit, with its name where that fits."""
        for package in self.packages:
            spot, inside = self.spots[package.name], package.name in self.circle
            fill = ACCENT if inside else _shade(package.depth)
            yield (
                f'<g><title>{escape(self._told(package))}</title><circle cx="{spot.x:.1f}" cy="{spot.y:.1f}" '
                f'r="{spot.radius:.1f}" fill="{fill}" stroke="{PAPER}" stroke-width="1"/>'
            )
            yield from _label(package.name, spot, PAPER if inside or package.depth > 5 else INK)
            yield "</g>"

    def _told(self, package: Package) -> str:
        told = [
            package.name,
            f"{count(package.lines, 'line')} in {count(package.files, 'file')}",
            f"{count(package.functions, 'function')}, {count(package.classes, 'class')}",
            f"deepest nesting {package.depth}" + (f" ({package.depth_at})" if package.depth_at else ""),
            f"layer {self.layers[package.name]}, imports {len(package.imports)}, "
            f"imported by {self.dependents[package.name]}",
        ]
        return "\n".join([*told, *(f"{path}: {error}" for path, error in package.errors)])


def _scale(spots: Collection[Spot]) -> float:
    """As large as the paper allows, with the corners left to the heading and the legend."""
    largest = max(spot.radius for spot in spots)
    return min((LARGEST + MORE * len(spots)) / largest, *map(_largest_scale, spots))


def _largest_scale(spot: Spot) -> float:
    up, left, right = (spot.radius + length for length in (spot.y, -spot.x, spot.x))
    below_corners = tuple((HUB[1] - height) / up for _, height in (HEADING, LEGEND))
    beside_heading = (HUB[0] - HEADING[0]) / left if left > 0 else math.inf
    beside_legend = (WIDTH - LEGEND[0] - HUB[0]) / right if right > 0 else math.inf
    return min(
        FAN[0] / max(left, right),
        FAN[1] / up,
        max(below_corners[0], beside_heading),
        max(below_corners[1], beside_legend),
    )


def _on_paper(spot: Spot, scale: float) -> Spot:
    return Spot(HUB[0] + spot.x * scale, HUB[1] - spot.y * scale, spot.radius * scale)


def _thread(start: Spot, end: Spot) -> str:
    """A curve that leaves both ends along their rays and crosses over half-way: threads gather as they near the hub."""
    sx, sy, ex, ey = start.x - HUB[0], start.y - HUB[1], end.x - HUB[0], end.y - HUB[1]
    outer, inner = math.hypot(sx, sy) or 1.0, math.hypot(ex, ey) or 1.0
    middle = inner + 0.45 * (outer - inner)
    ax, ay = HUB[0] + sx * middle / outer, HUB[1] + sy * middle / outer
    bx, by = HUB[0] + ex * middle / inner, HUB[1] + ey * middle / inner
    return f"M{start.x:.1f} {start.y:.1f}C{ax:.1f} {ay:.1f} {bx:.1f} {by:.1f} {end.x:.1f} {end.y:.1f}"


def _shade(depth: int) -> str:
    return DEPTHS[min(max(depth, 1), len(DEPTHS)) - 1]


def _label(name: str, spot: Spot, colour: str) -> Iterator[str]:
    size = min(spot.radius * 0.5, 1.75 * spot.radius / (0.56 * max(1, len(name))), 26.0)
    if size >= 5.5:
        yield (
            f'<text x="{spot.x:.1f}" y="{spot.y + size * 0.34:.1f}" font-size="{size:.1f}" fill="{colour}" '
            f'text-anchor="middle" pointer-events="none">{escape(name)}</text>'
        )


def _text(x: float, y: float, size: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}" fill="{INK}" {style}>{escape(text)}</text>'


def _heading(title: str, packages: list[Package], graph: ImportGraph) -> Iterator[str]:
    rows = wrap(title, 20, max_lines=2, placeholder=" …") or [title]
    size = min(46.0, HEADING[0] / (0.56 * max(map(len, rows))))
    yield _text(49, 62, 13, "AN ATLAS OF", 'letter-spacing="3" fill-opacity="0.6"')
    for row, words in enumerate(rows):
        yield _text(47, 108 + row * size * 1.08, size, words, f'font-family="{SERIF}"')
    y = 108 + (len(rows) - 1) * size * 1.08 + 24
    yield f'<path d="M49 {y:.0f}h56" stroke="{ACCENT}" stroke-width="3"/>'
    totals = [
        f"{count(sum(package.lines for package in packages), 'line')} in "
        f"{count(sum(package.files for package in packages), 'file')}",
        f"{count(len(packages), 'module')}{' and packages' * (len(packages) > 1)}, "
        f"{count(len(graph.edges), 'import')} between them",
        _height(packages, graph),
    ]
    for row, words in enumerate(totals):
        yield _text(49, y + 30 + 21 * row, 15, words, 'fill-opacity="0.8"')


def _height(packages: list[Package], graph: ImportGraph) -> str:
    layers = dict(zip(graph.names, graph.layers, strict=True))
    top = max(packages, key=lambda package: (layers[package.name], package.lines, package.name))
    return f"{count(layers[top.name] + 1, 'layer')}, {top.name} on top"


def _legend(fan: _Fan, graph: ImportGraph) -> Iterator[str]:
    left = WIDTH - LEGEND[0] + 10
    yield _text(left, 62, 13, "HOW TO READ IT", 'letter-spacing="3" fill-opacity="0.6"')
    for row, words in enumerate(HOW_TO_READ_IT):
        yield _text(left, 92 + 18 * row, 13.5, words)
    yield from _size_legend(left, 171, fan.scale)
    yield _text(left, 222, 13.5, "Colour: how deep its blocks are nested")
    for depth, fill in enumerate(DEPTHS, 1):
        x = left + (depth - 1) * 26
        yield f'<rect x="{x}" y="232" width="26" height="12" fill="{fill}"/>'
        yield _text(x + 13, 259, 11, str(depth) + "+" * (depth == len(DEPTHS)), 'text-anchor="middle"')
    yield f'<path d="M{left} 284c14 -16 28 8 44 -6" fill="none" stroke="{THREAD}" stroke-width="1.6"/>'
    yield _text(left + 56, 284, 13.5, "an import")
    if graph.cycles:
        yield f'<circle cx="{left + 132}" cy="279.5" r="8" fill="{ACCENT}"/>'
        yield _text(left + 147, 284, 13.5, "largest import cycle")


def _size_legend(left: float, middle: float, scale: float) -> Iterator[str]:
    if not _round_numbers(scale):
        yield _text(left, middle + 4.5, 13.5, f"The smallest circles: {SMALLEST} lines or fewer")
    for lines in _round_numbers(scale):
        radius = scale * math.sqrt(lines / math.pi)
        yield (
            f'<circle cx="{left + radius:.1f}" cy="{middle:.1f}" r="{radius:.1f}" fill="none" stroke="{INK}" '
            'stroke-opacity="0.6"/>'
        )
        yield _text(left + 2 * radius + 7, middle + 4.5, 13.5, f"{lines:,} lines")
        left += 2 * radius + 7 + 8 * len(f"{lines:,} lines") + 12


def _round_numbers(scale: float) -> list[int]:
    """The two largest powers of ten whose circles have room in the legend."""
    fitting = [10**k for k in range(2, 9) if scale * math.sqrt(10**k / math.pi) <= ROOM]
    return fitting[-2:]


def _foot(note: str, fan: _Fan, left_out: int) -> Iterator[str]:
    y = HUB[1]
    yield f'<path d="M48 {y + 14}H{WIDTH - 48}" stroke="{INK}" stroke-opacity="0.25"/>'
    most = sorted(fan.packages, key=lambda package: (-fan.dependents[package.name], package.name))[:8]
    told = "   ".join(f"{p.name} {fan.dependents[p.name]}" for p in most if fan.dependents[p.name])
    if told:
        yield _text(48, y + 40, 13, f"Most imported:   {told}", 'xml:space="preserve"')
    note += f" The {left_out:,} smallest of them are not drawn." if left_out else ""
    yield _text(WIDTH - 48, y + 40, 12, note, 'text-anchor="end" fill-opacity="0.6"')
