"""Quality against a cost: a mark for each way of tuning, its seeds as dots, its spread as a bar, names beside."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgetune.metrics import Spread
from edgetune.reports.page.axes import HEIGHT, WIDTH, Scale, across, drawing, frame, padded, upwards
from edgetune.reports.page.marks import SIZE, colour, mark
from edgetune.reports.page.markup import Markup, element
from edgetune.reports.page.wording import SHARES, quality_told

LETTER = 8.4
"""Pixels that a letter of a label takes, about."""


@dataclass(frozen=True)
class Point:
    """One way of tuning in a plot.

    Attributes:
        colour: its index among the page's colours.
        values: of the single seeds; none are drawn where there is one.
        prominent: the others are faint.
        named: its name stands beside it.
    """

    name: str
    method: str
    colour: int
    cost: float
    quality: Spread
    values: Sequence[float]
    prominent: bool = True
    named: bool = True


def scatter(
    name: str,
    metric: str,
    quality: str,
    costs: str,
    points: Sequence[Point],
    told: Callable[[float], str],
    *,
    front: bool = False,
) -> Markup:
    """Costs on a logarithmic scale, written as `told`; `quality` and `costs` are what the axes are called.

    With `front` a line joins the prominent points.
    """
    values = [value for point in points for value in (*point.values, point.quality.mean)]
    counts = [point.cost for point in points]
    x = across(min(counts) / 1.6, max(counts) * 1.6, logarithmic=True)
    low, high = padded(values, least=0.005)
    y = upwards(low, min(high, 1.0 + (high - low) * 0.02) if metric in SHARES else high)
    parts = frame(x, y, costs, quality, told, value_told(metric, y))
    prominent = [point for point in points if point.prominent]
    if front and len(prominent) > 1:
        corners = " ".join(f"{x.at(point.cost):.1f},{y.at(point.quality.mean):.1f}" for point in prominent)
        parts.append(element("polyline", points=corners, class_="front"))
    for point in sorted(points, key=lambda point: point.prominent):
        parts.append(marks_of(point, x, y))
    parts += [
        element("text", label.text, x=label.x, y=label.y, class_=f"label {label.anchor}")
        for label in labels(points, x, y)
    ]
    described = "; ".join(f"{p.name}: {told(p.cost)} {costs}, {quality_told(metric, p.quality)}" for p in points)
    title = f"{quality} against {costs}"
    return drawing(name, title[0].upper() + title[1:], described, parts)


def marks_of(point: Point, x: Scale, y: Scale) -> Markup:
    at = x.at(point.cost)
    seeds = [element("circle", cx=at, cy=y.at(value), r=2.5, class_="seed") for value in point.values]
    bar = element("line", x1=at, x2=at, y1=y.at(point.quality.least), y2=y.at(point.quality.most), class_="spread")
    faint = "" if point.prominent else " faint"
    drawn = mark(point.method, at, y.at(point.quality.mean))
    return element("g", bar, *seeds, drawn, class_=f"{colour(point.colour)}{faint}")


@dataclass(frozen=True)
class Box:
    """A rectangle of the plot that one thing covers, in pixels."""

    left: float
    right: float
    top: float
    bottom: float

    def shared(self, other: Box) -> float:
        """Pixels that both cover."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down)


@dataclass(frozen=True)
class Label:
    """A point's name; `anchor` is the end of it that is at `x`, `y` is its base line."""

    text: str
    x: float
    y: float
    anchor: str

    @property
    def box(self) -> Box:
        width = LETTER * len(self.text)
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return Box(left, left + width, self.y - 12, self.y + 3)


def labels(points: Sequence[Point], x: Scale, y: Scale) -> list[Label]:
    """A name beside, above or below each mark, where it covers least of the marks, the other names and the margin."""
    taken = [covered(point, x, y) for point in points]
    taken += [Box(0, x.start, 0, HEIGHT), Box(x.end, 2 * WIDTH, 0, HEIGHT), Box(0, WIDTH, y.start, HEIGHT)]
    taken += [Box(0, WIDTH, -HEIGHT, y.end - 8)]
    placed = []
    for point in points:
        if not point.named:
            continue
        places = around(point.name, x.at(point.cost), y.at(point.quality.mean))
        label = min(places, key=lambda label: sum(label.box.shared(box) for box in taken))
        placed.append(label)
        taken.append(label.box)
    return placed


def around(name: str, at: float, level: float) -> list[Label]:
    """Where a name may stand, the best place first."""
    beside = [Label(name, at + side * 12, level + 4.5, anchor) for side, anchor in ((1, "start"), (-1, "end"))]
    lower = [
        Label(name, at + side * 9, level + y, anchor) for y in (20, -12) for side, anchor in ((1, "start"), (-1, "end"))
    ]
    return [*beside, *lower, *(Label(name, at, level + y, "middle") for y in (26, -18, 42, -34))]


def covered(point: Point, x: Scale, y: Scale) -> Box:
    """The mark and its spread."""
    at, middle = x.at(point.cost), y.at(point.quality.mean)
    ends = sorted((y.at(point.quality.least), y.at(point.quality.most)))
    return Box(at - SIZE, at + SIZE, min(ends[0], middle - SIZE), max(ends[1], middle + SIZE))


def count_told(count: float) -> str:
    """`500`, `20k`, `1.5M`."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g}{unit}"
    return f"{count:.0f}"


def bytes_told(count: float) -> str:
    """`500 B`, `20 kB`, `1.5 MB`."""
    told = count_told(count)
    return f"{told[:-1]} {told[-1]}B" if told[-1].isalpha() else f"{told} B"


def value_told(metric: str, y: Scale) -> Callable[[float], str]:
    """As many digits as tell two ticks apart."""
    step = y.ticks[1] - y.ticks[0] if len(y.ticks) > 1 else y.high - y.low
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if metric in SHARES:
        return lambda value: f"{value * 100:.{max(0, digits - 2)}f} %"
    return lambda value: f"{value:.{digits}f}"
