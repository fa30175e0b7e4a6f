"""JSON from somebody else: bounded in length and depth, each key once, numbers that are numbers."""

from __future__ import annotations

import json
from typing import Any

MOST_BYTES = 2 << 20
"""Of one text. What Python makes of it may take thirty times as much."""
LARGEST = 2**53
"""Whole numbers beyond are not the same in every language."""


def json_from(data: bytes | str, most_bytes: int = MOST_BYTES, *, finite: bool = True) -> Any:
    """What the text says; raises ValueError for what is too long, too deep, not whole, or says a key twice.

    Numbers that are not `finite` are refused as well, unless they are asked for.
    """
    if len(data) > most_bytes:
        raise ValueError(f"it has more than {most_bytes} bytes")
    text = data.decode("utf-8") if isinstance(data, bytes) else data
    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refused if finite else float, parse_int=whole)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; raises ValueError where a key is there twice: readers differ in which one counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it says a key twice: " + ", ".join(map(repr, list(found)[:5])))
    return found


def refused(name: str) -> Any:
    """NaN and the infinities are no JSON."""
    raise ValueError(f"{name} is no number")


def whole(digits: str) -> int:
    """A whole number; raises ValueError beyond 2^53."""
    if len(digits) > 17 or abs(int(digits)) > LARGEST:
        raise ValueError(f"{digits[:40]} is too large a number")
    return int(digits)
