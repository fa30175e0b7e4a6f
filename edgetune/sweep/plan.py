"""A sweep before it starts: what is tried, how it is chosen, ranked and stopped early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgetune_runtime.spans import is_bio

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.metrics import MEASURES, Measure
from edgetune.sweep.budget import Budget, Search, search_of
from edgetune.sweep.space import Space
from edgetune.sweep.variant import Variant, refuse_two_purposes, seeds_of, variant_of
from edgetune.training.unfinished import options_of

SEEDS = 1
REDUCTION_FACTOR = 4
"""The default of Optuna and of Ray."""

RANKED_BY: Mapping[str, Sequence[str]] = {
    "classify": ("accuracy", "macro_f1", "loss"),
    "tag": ("f1", "precision", "recall", "accuracy", "macro_f1", "loss"),
    "regress": ("mse", "pearson", "spearman"),
    "generate": ("loss", "perplexity"),
}
"""Metrics of a task's evaluations, the task's own measure first."""
METRICS = tuple(dict.fromkeys(name for names in RANKED_BY.values() for name in names))
LESS_IS_BETTER = ("loss", "mse", "perplexity")


@dataclass(frozen=True)
class EarlyStopping:
    """ASHA's rungs (Li et al. 2020): at each, of those that got there the best 1 / `reduction_factor` go on.

    Attributes:
        grace_period: steps before the first rung; each further one is `reduction_factor` times as far.
    """

    grace_period: int
    reduction_factor: int = REDUCTION_FACTOR

    def rungs(self, steps: int) -> list[int]:
        """Steps of a run after which it may be stopped."""
        found, at = [], self.grace_period
        while at < steps:
            found.append(at)
            at *= self.reduction_factor
        return found


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep does.

    Attributes:
        config: what all configurations start from.
        seeds: of the runs of each.
        metric: that they are ranked by; None: the task's own.
        stopping: None: every run is trained to its end.
    """

    config: TrainConfig
    space: Space
    seeds: tuple[int, ...]
    search: Search
    budget: Budget
    metric: str | None = None
    stopping: EarlyStopping | None = None

    def variant(self, change: Mapping[str, Any]) -> Variant:
        return variant_of(self.config, self.space.rounded(change))

    def checked(self) -> list[Variant]:
        """One of each combination of lists; they differ in no more than what is drawn from ranges."""
        return [self.variant(change) for change in self.space.grid()]

    def measure(self, labels: Sequence[str]) -> Measure:
        """What the configurations are ranked by, where the task has such labels."""
        own = RANKED_BY[self.config.task][0]
        name = self.metric or ("accuracy" if own == "f1" and not is_bio(labels) else own)
        known = next((measure for measure in MEASURES if measure.name == name), None)
        return known or Measure(name, name not in LESS_IS_BETTER)

    def settled(self) -> dict[str, Any]:
        """What a continued sweep must have in common with its beginning: all but the budget."""
        stopping = None if self.stopping is None else [self.stopping.grace_period, self.stopping.reduction_factor]
        return {
            **options_of(self.config),
            "space": self.space.described(),
            "seeds": list(self.seeds),
            "search": self.search,
            "metric": self.metric,
            "early_stopping": stopping,
        }


def sweep_planned(
    config: TrainConfig,
    space: Space,
    budget: Budget,
    *,
    search: Search | None = None,
    seeds: int = SEEDS,
    metric: str | None = None,
    early_stopping: bool = True,
    grace_period: int | None = None,
    reduction_factor: int = REDUCTION_FACTOR,
) -> SweepPlan:
    """Raises ConfigError for what cannot be swept."""
    numbers = seeds_of(config, seeds)
    if metric is not None and metric not in RANKED_BY[config.task]:
        raise ConfigError(f"--task {config.task} has no {metric}; rank by {', '.join(RANKED_BY[config.task])}")
    if reduction_factor < 2:
        raise ConfigError(f"reduction-factor is {reduction_factor}; the least is 2")
    if grace_period is not None and grace_period < 1:
        raise ConfigError(f"grace-period is {grace_period}; the least is 1")
    stopping = EarlyStopping(grace_period or config.eval_every, reduction_factor) if early_stopping else None
    chosen = search_of(search, space, budget, config.steps * seeds)
    plan = SweepPlan(replace(config, tensorboard=None), space, numbers, chosen, budget, metric, stopping)
    refuse_two_purposes({variant.config.purpose for variant in plan.checked()})
    return plan
