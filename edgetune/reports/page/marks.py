"""One colour a variant, one shape a method and one dash a colour's second use, the same in every plot and table."""

from __future__ import annotations

from edgetune.reports.page.markup import Markup, element

COLOURS = 8
DASHES = ("", "7 3", "2 3")
SIZE = 6.5


def colour(index: int) -> str:
    """The class that sets a variant's colour."""
    return f"c{index % COLOURS}"


def dash(index: int) -> str | None:
    """Neighbours differ in their dashes too: colour is never all that tells two lines apart."""
    return DASHES[index % len(DASHES)] or None


def mark(method: str, x: float, y: float) -> Markup:
    """A circle for prompts, a square for prefixes, a diamond for all else."""
    if method == "prompt":
        return element("circle", cx=x, cy=y, r=SIZE, class_="mean")
    if method == "prefix":
        return element("rect", x=x - SIZE, y=y - SIZE, width=2 * SIZE, height=2 * SIZE, class_="mean")
    points = f"M{x:.1f} {y - SIZE - 2:.1f}l{SIZE + 2} {SIZE + 2}l-{SIZE + 2} {SIZE + 2}l-{SIZE + 2} -{SIZE + 2}z"
    return element("path", d=points, class_="mean")


def swatch(method: str, index: int, *, line: bool = True) -> Markup:
    """The mark and the line of a variant, for a legend or a table; the name beside it says the same."""
    drawn = [element("line", x1=0, x2=30, y1=9, y2=9, class_="curve", stroke_dasharray=dash(index))] if line else []
    return element(
        "svg", *drawn, mark(method, 15, 9), viewBox="0 0 30 18", width=30, height=18,
        class_=f"swatch {colour(index)}", aria_hidden="true",
    )  # fmt: skip
