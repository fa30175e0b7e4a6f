"""What may be tried: a list of values for some options, a range for others."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log, prod
from typing import Any

from edgetune.config import METHODS
from edgetune.errors import ConfigError
from edgetune.sweep.variants import grid, listed

DIGITS = 3
"""That count, of a value drawn from a range: more would only make names long."""
TO = ".."


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included, evenly by their logarithms."""

    low: float
    high: float

    def drawn(self, generator: random.Random) -> float:
        return self.low * (self.high / self.low) ** generator.random()


@dataclass(frozen=True)
class Space:
    """Values by option, in the order in which they were asked for."""

    choices: Mapping[str, Sequence[Any]]
    ranges: Mapping[str, Range] = field(default_factory=dict)

    @property
    def size(self) -> int | None:
        """Configurations in it; None where a range has no end of them."""
        return None if self.ranges else prod(len(values) for values in self.choices.values())

    def grid(self) -> list[dict[str, Any]]:
        """Every combination of the lists; of a range its lowest value, to be checked with."""
        lowest = {name: one.low for name, one in self.ranges.items()}
        return [{**change, **lowest} for change in grid(**self.choices)]

    def drawn(self, seed: int, number: int) -> dict[str, Any] | None:
        """The configuration of that number, from 0, in an order that the seed alone decides.

        Lists are drawn without repeats; None after the last of them.
        """
        if self.size is not None:
            order = self.grid()
            random.Random(f"{seed}").shuffle(order)
            return order[number] if number < len(order) else None
        generator = random.Random(f"{seed} {number}")
        change = {name: generator.choice(list(values)) for name, values in self.choices.items()}
        return {**change, **{name: one.drawn(generator) for name, one in self.ranges.items()}}

    def rounded(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """Numbers of ranges with DIGITS digits that count."""
        return {name: float(f"{x:.{DIGITS}g}") if name in self.ranges else x for name, x in change.items()}

    def described(self) -> dict[str, Any]:
        """As plain values, for a file."""
        ranges = {name: [one.low, one.high] for name, one in self.ranges.items()}
        return {"choices": {name: list(values) for name, values in self.choices.items()}, "ranges": ranges}


def space_asked(lists: Mapping[str, str | None]) -> Space:
    """`{"method": "prompt,prefix", "learning_rate": "1e-4..1e-1"}`; without `method` all methods.

    Raises:
        ConfigError: a list with nothing or with a value twice in it, or a range without a way up.
    """
    given = {name: text for name, text in lists.items() if text is not None}
    ranges = {name: range_of(name, text) for name, text in given.items() if TO in text}
    choices = {name: listed(name, text) for name, text in given.items() if name not in ranges}
    for name, values in choices.items():
        if twice := next((x for x in values if values.count(x) > 1), None):
            raise ConfigError(f"{name} lists {twice} more than once; once is enough")
    return Space({"method": list(METHODS), **choices}, ranges)


def range_of(name: str, text: str) -> Range:
    """`1e-4..1e-1`."""
    low, _, high = text.partition(TO)
    try:
        found = Range(float(low), float(high))
    except ValueError as error:
        raise ConfigError(f"{name}: {text!r} is not LOW..HIGH, e.g. 1e-4..1e-1") from error
    if not 0 < found.low < found.high or log(found.high / found.low) == float("inf"):
        raise ConfigError(f"{name}: {text!r} has to rise from a number above 0")
    return found
