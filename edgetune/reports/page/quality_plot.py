"""Quality against parameters: a mark a variant, its seeds as dots, its spread as a bar."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from edgetune.comparison.figures import Comparison, VariantFigures
from edgetune.reports.page.axes import HEIGHT, WIDTH, Scale, across, drawing, frame, padded, upwards
from edgetune.reports.page.marks import SIZE, colour, mark
from edgetune.reports.page.markup import Markup, element
from edgetune.reports.page.wording import SHARES, quality_name, quality_told

LETTER = 8.4
"""Pixels that a letter of a label takes, about."""


def quality_plot(comparison: Comparison) -> Markup:
    """Parameters on a logarithmic scale; means joined to the least and the most of their seeds."""
    metric = comparison.measure.name
    values = [run.metrics[metric] for variant in comparison.variants for run in variant.runs]
    counts = [variant.parameters for variant in comparison.variants]
    x = across(min(counts) / 1.6, max(counts) * 1.6, logarithmic=True)
    low, high = padded(values, least=0.005)
    y = upwards(low, min(high, 1.0 + (high - low) * 0.02) if metric in SHARES else high)
    parts = frame(x, y, "parameters learned", quality_name(comparison), count_told, value_told(metric, y))
    for i, variant in enumerate(comparison.variants):
        parts += variant_marks(comparison, variant, i, x, y)
    parts += [
        element("text", label.text, x=label.x, y=label.y, class_=f"label {label.anchor}")
        for label in labels(comparison, x, y)
    ]
    told = "; ".join(
        f"{v.name}: {v.parameters:,} parameters, {quality_told(comparison.measure.name, comparison.quality(v))}"
        for v in comparison.variants
    )
    title = f"{quality_name(comparison)} against parameters"
    return drawing("quality", title[0].upper() + title[1:], told, parts)


def variant_marks(comparison: Comparison, variant: VariantFigures, index: int, x: Scale, y: Scale) -> list[Markup]:
    at, spread = x.at(variant.parameters), comparison.quality(variant)
    seeds = [
        element("circle", cx=at, cy=y.at(run.metrics[comparison.measure.name]), r=2.5, class_="seed")
        for run in variant.runs
    ]
    bar = element("line", x1=at, x2=at, y1=y.at(spread.least), y2=y.at(spread.most), class_="spread")
    return [element("g", bar, *seeds, mark(variant.method, at, y.at(spread.mean)), class_=colour(index))]


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
    """A variant's name; `anchor` is the end of it that is at `x`, `y` is its base line."""

    text: str
    x: float
    y: float
    anchor: str

    @property
    def box(self) -> Box:
        width = LETTER * len(self.text)
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return Box(left, left + width, self.y - 12, self.y + 3)


def labels(comparison: Comparison, x: Scale, y: Scale) -> list[Label]:
    """A name beside, above or below each mark, where it covers least of the marks, the other names and the margin."""
    places = {v.name: (x.at(v.parameters), y.at(comparison.quality(v).mean)) for v in comparison.variants}
    taken = [covered(comparison, variant, x, y) for variant in comparison.variants]
    taken += [Box(0, x.start, 0, HEIGHT), Box(x.end, 2 * WIDTH, 0, HEIGHT), Box(0, WIDTH, y.start, HEIGHT)]
    taken += [Box(0, WIDTH, -HEIGHT, y.end - 8)]
    placed = []
    for name, (at, level) in places.items():
        label = min(around(name, at, level), key=lambda label: sum(label.box.shared(box) for box in taken))
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


def covered(comparison: Comparison, variant: VariantFigures, x: Scale, y: Scale) -> Box:
    """The mark and its spread."""
    at, spread = x.at(variant.parameters), comparison.quality(variant)
    ends = sorted((y.at(spread.least), y.at(spread.most)))
    middle = y.at(spread.mean)
    return Box(at - SIZE, at + SIZE, min(ends[0], middle - SIZE), max(ends[1], middle + SIZE))


def count_told(count: float) -> str:
    """`500`, `20k`, `1.5M`."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g}{unit}"
    return f"{count:.0f}"


def value_told(metric: str, y: Scale) -> Callable[[float], str]:
    """As many digits as tell two ticks apart."""
    step = y.ticks[1] - y.ticks[0] if len(y.ticks) > 1 else y.high - y.low
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if metric in SHARES:
        return lambda value: f"{value * 100:.{max(0, digits - 2)}f} %"
    return lambda value: f"{value:.{digits}f}"
