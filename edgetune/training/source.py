"""Where the rows of a run come from, step by step."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

from torch import Tensor

from edgetune.training.batches import step_rows
from edgetune.training.examples import Example
from edgetune.training.state import digest


class Source(Protocol):
    """Rows in a seeded order, every row once before any comes again.

    What stands for a row until it is read is the source's own, so that a process which trains with others turns its
    share alone into tokens.
    """

    @property
    def digest(self) -> str:
        """A hash of all rows: equal for the same rows."""
        ...

    def steps(self, count: int, seed: int, done: int, place: Mapping[str, Tensor]) -> Iterator[Sequence[Any]]:
        """`count` rows of like lengths for each step, without end, from where `done` steps are behind and `place` was
        the source's.
        """
        ...

    def examples(self, rows: Sequence[Any]) -> list[Example]:
        """The rows as the base reads them."""
        ...

    def place(self) -> dict[str, Tensor]:
        """What `steps` needs beside the number of steps to go on behind the last one that it gave."""
        ...


class Held:
    """Rows that are in memory; a row is its index until it is read."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.every = examples

    @property
    def digest(self) -> str:
        return digest(map(repr, self.every))

    def steps(self, count: int, seed: int, done: int, place: Mapping[str, Tensor]) -> Iterator[Sequence[int]]:
        """A function of the seed alone: the steps before `done` are left out and the rest is the same."""
        return islice(step_rows(self.every, count, random.Random(seed)), done, None)

    def examples(self, rows: Sequence[int]) -> list[Example]:
        return [self.every[i] for i in rows]

    def place(self) -> dict[str, Tensor]:
        return {}
