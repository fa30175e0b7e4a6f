"""When a sweep ends: after so many trials, minutes or steps, or when everything was tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edgetune.errors import ConfigError
from edgetune.sweep.space import Space

Search = Literal["grid", "random", "tpe"]
"""How configurations are chosen: each combination, by chance, or by a tree-structured Parzen estimator (Bergstra et
al. 2011) that learns from those before."""
SEARCHES: tuple[Search, ...] = get_args(Search)


@dataclass(frozen=True)
class Budget:
    """No trial begins beyond any of these; None: no bound. One that has begun ends as it would have.

    Attributes:
        trials: configurations, those that were stopped early included.
        minutes: since the sweep began, interruptions left out.
        total_steps: optimiser steps of all runs together.
    """

    trials: int | None = None
    minutes: float | None = None
    total_steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("trials", "minutes", "total_steps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name.replace('_', '-')} is {value}; give more than 0")

    @property
    def endless(self) -> bool:
        return self.trials is None and self.minutes is None and self.total_steps is None

    def spent(self, trials: int, seconds: float, steps: int) -> bool:
        """Whether no further trial may begin after these."""
        return (
            (self.trials is not None and trials >= self.trials)
            or (self.minutes is not None and seconds >= self.minutes * 60)
            or (self.total_steps is not None and steps >= self.total_steps)
        )

    def holds(self, trials: int, steps_each: int) -> bool:
        """Whether so many trials are sure to fit; of minutes nothing is sure."""
        return (
            self.minutes is None
            and (self.trials is None or trials <= self.trials)
            and (self.total_steps is None or (trials - 1) * steps_each < self.total_steps)
        )


def search_of(asked: Search | None, space: Space, budget: Budget, steps_each: int) -> Search:
    """What was asked for; by default a grid where all of it fits the budget, else tpe.

    Raises:
        ConfigError: a range without a budget, or a grid that is a range or does not fit.
    """
    size = space.size
    if size is None and budget.endless:
        raise ConfigError("a range has no last configuration: give --trials, --minutes or --total-steps")
    if asked == "grid" and size is None:
        raise ConfigError("a range has no grid: list its values, or give --search random or tpe")
    if asked == "grid" and size is not None and not (budget.holds(size, steps_each) or budget.minutes is not None):
        raise ConfigError(
            f"the grid has {size} configurations, more than the budget holds: raise it, or give --search random or tpe"
        )
    if asked is not None:
        return asked
    return "grid" if size is not None and budget.holds(size, steps_each) else "tpe"
