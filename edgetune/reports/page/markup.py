"""HTML and SVG as text: every value is escaped, here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

EMPTY = {"meta", "line", "circle", "rect", "path", "polyline", "br"}


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def element(tag: str, *content: Any, **attributes: Any) -> Markup:
    """`element("td", "<1", class_="n")` → `<td class="n">&lt;1</td>`; attributes that are None are left out."""
    named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    written = "".join(f' {name}="{escape(shown(value))}"' for name, value in named.items())
    if tag in EMPTY and not content:
        return Markup(f"<{tag}{written}/>")
    return Markup(f"<{tag}{written}>{together(content)}</{tag}>")


def together(parts: Iterable[Any]) -> Markup:
    return Markup("".join(part if isinstance(part, Markup) else escape(shown(part)) for part in parts))


def shown(value: Any) -> str:
    """Coordinates to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
