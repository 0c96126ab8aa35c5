"""Where each unit goes in the picture: a fan of circles, foundations at its hub, so that imports run inwards.

Units are placed one after the other, lowest layer first, each as near to the hub as it fits, but never nearer than
what it imports. Coordinates have the hub at (0, 0) and y pointing up; a circle's area is its number of lines.
"""

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass

RAYS = 48
GAP = 5.0
STEP = 8.0
"""How much further out than its imports a unit lies at least."""
SMALLEST = 30
"""Lines that the smallest circle stands for, so that an empty module is still seen."""
DETOUR, KINSHIP = 0.1, 0.5
"""How much further out a unit may lie, per radian, to be in the direction of what it imports, or of its cycle."""

FLATNESS = 0.03
"""How much further out it may lie to be at the side rather than at the top: the paper is wider than high."""


@dataclass(frozen=True)
class Spot:
    """A circle."""

    x: float
    y: float
    radius: float

    @property
    def distance(self) -> float:
        """From the hub to the centre."""
        return math.hypot(self.x, self.y)

    @property
    def angle(self) -> float:
        """From the right end of the base line, anticlockwise."""
        return math.atan2(self.y, self.x)


def lay_out(lines: Mapping[str, int], layers: Mapping[str, int], imports: Mapping[str, Set[str]]) -> dict[str, Spot]:
    """Place every unit. Those that neither import nor are imported come last, into the gaps that are left."""
    linked = {name for name in imports if imports[name]}.union(*imports.values())
    order = sorted(lines, key=lambda name: (name not in linked, layers[name], -lines[name], name))
    spots: dict[str, Spot] = {}
    for name in order:
        below = [spots[other] for other in sorted(imports[name]) if layers[other] < layers[name]]
        kin = [spots[other] for other in sorted(imports[name]) if other in spots and layers[other] == layers[name]]
        radius = math.sqrt(max(SMALLEST, lines[name]) / math.pi)
        spots[name] = _place(radius, below, kin, spots)
    return spots


def _place(radius: float, below: list[Spot], kin: list[Spot], placed: Mapping[str, Spot]) -> Spot:
    """The best free spot: near the hub, further out than all that lies below, near its ``kin``."""
    floor = max((spot.distance for spot in below), default=-STEP) + STEP
    wanted, pull = _direction(kin or below), KINSHIP if kin else DETOUR
    near = [spot for spot in placed.values() if spot.distance + spot.radius + radius + GAP > floor]
    rays = sorted((math.pi * (k + 0.5) / RAYS for k in range(RAYS)), key=lambda angle: abs(angle - wanted))
    best, cost = Spot(0.0, floor, radius), math.inf
    for angle in rays:
        factor = 1 + pull * abs(angle - wanted) + FLATNESS * math.sin(angle)
        start = max(floor, radius / math.sin(angle))
        if start * factor >= cost:
            continue
        distance = _first_gap(angle, start, radius, near)
        if distance * factor < cost:
            cost = distance * factor
            best = Spot(distance * math.cos(angle), distance * math.sin(angle), radius)
    return best


def _direction(spots: list[Spot]) -> float:
    if not spots:
        return math.pi / 2
    return sum(spot.angle for spot in spots) / len(spots)


def _first_gap(angle: float, start: float, radius: float, placed: list[Spot]) -> float:
    """How far out on a ray, from ``start`` on, a circle first touches none of those placed."""
    cos, sin = math.cos(angle), math.sin(angle)
    taken = []
    for spot in placed:
        along = spot.x * cos + spot.y * sin
        reach = spot.radius + radius + GAP
        half = reach * reach - (spot.x * sin - spot.y * cos) ** 2
        if half > 0:
            taken.append((along - math.sqrt(half), along + math.sqrt(half)))
    for begin, end in sorted(taken):
        if begin >= start:
            break
        start = max(start, end)
    return start
