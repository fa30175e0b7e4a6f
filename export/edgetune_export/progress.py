"""How far an export is, told to whoever shows it."""

from __future__ import annotations

from typing import Protocol


class Tell(Protocol):
    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None:
        """`done` of `total` parts of a stage are behind us; a `total` of 0: nobody knows how many there are."""
        ...


def untold(stage: str, done: int = 0, total: int = 0) -> None:
    """For those who need not know."""
