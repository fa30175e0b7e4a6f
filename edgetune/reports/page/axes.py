"""The frame of a plot: where values lie in it, its ticks, its labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgetune.reports.page.markup import Markup, element

WIDTH, HEIGHT = 480, 330
LEFT, RIGHT, TOP, BOTTOM = 78, 14, 14, 50
"""Pixels of the plot's view box; the margins hold the labels."""


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` lie between two pixels, evenly or by their logarithms."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        low, high, value = (math.log10(x) if self.logarithmic else x for x in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        return log_ticks(self.low, self.high) if self.logarithmic else even_ticks(self.low, self.high)


def across(low: float, high: float, *, logarithmic: bool = False) -> Scale:
    return Scale(low, high, LEFT, WIDTH - RIGHT, logarithmic)


def upwards(low: float, high: float) -> Scale:
    return Scale(low, high, HEIGHT - BOTTOM, TOP)


def even_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most `most`."""
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten; where the range holds fewer than three, their doubles and fives as well."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        found = [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]
        if len(found) >= 3:
            break
    return found


def padded(values: Sequence[float], share: float = 0.1, least: float = 0.0) -> tuple[float, float]:
    """The range of the values with some air; never empty."""
    low, high = min(values), max(values)
    air = max((high - low) * share, least, abs(high) * 1e-3, 1e-9)
    return low - air, high + air


def frame(
    x: Scale, y: Scale, across_title: str, up_title: str, x_told: Callable[[float], str], y_told: Callable[[float], str]
) -> list[Markup]:
    """Grid, tick labels and titles."""
    drawn = []
    for tick in y.ticks:
        drawn.append(element("line", class_="grid", x1=x.start, x2=x.end, y1=y.at(tick), y2=y.at(tick)))
        drawn.append(element("text", y_told(tick), x=x.start - 7, y=y.at(tick) + 4.5, class_="tick end"))
    for tick in x.ticks:
        drawn.append(element("line", class_="mark", x1=x.at(tick), x2=x.at(tick), y1=y.start, y2=y.start + 5))
        drawn.append(element("text", x_told(tick), x=x.at(tick), y=y.start + 20, class_="tick middle"))
    drawn.append(element("line", class_="axis", x1=x.start, x2=x.end, y1=y.start, y2=y.start))
    middle = (y.start + y.end) / 2
    drawn.append(element("text", across_title, x=(x.start + x.end) / 2, y=HEIGHT - 8, class_="title middle"))
    turned = f"rotate(-90 13 {middle:g})"
    drawn.append(element("text", up_title, x=13, y=middle, transform=turned, class_="title middle"))
    return drawn


def drawing(name: str, title: str, description: str, parts: Sequence[Markup]) -> Markup:
    """An SVG that says what it shows to those who cannot see it; `name` makes its ids unique on the page."""
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *parts,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        xmlns="http://www.w3.org/2000/svg",
    )
