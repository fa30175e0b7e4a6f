"""What a sweep found, as plain values: every trial, the best of them, and those that no other beats at their cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from edgetune.metrics import Measure, Spread, spread
from edgetune.sweep.records import End


@dataclass(frozen=True)
class SeedFigures:
    """One run of a trial.

    Attributes:
        metrics: on the held-out rows at the step that was kept.
        evaluations: (step, metrics) while it ran.
    """

    seed: int
    metrics: Mapping[str, float]
    kept_step: int
    train_seconds: float
    evaluations: Sequence[tuple[int, Mapping[str, float]]]


@dataclass(frozen=True)
class TrialFigures:
    """One configuration.

    Attributes:
        name, described: `prefix-20-lr-0.01`, and `prefix, 20 tokens, learning rate 0.01`.
        change: its values of what was swept.
        end: how it ended; only a complete one has runs, parameters and a size.
        step: after which it was stopped, or the steps of a run.
        value: what it is ranked by; of a pruned one its last evaluation.
        parameters: all that is learned and kept, a classifier's head included.
        size_bytes: of the adapter's file on the device.
        best_seed: of the run that is best by the task's own measure.
    """

    number: int
    name: str
    described: str
    method: str
    virtual_tokens: int
    learning_rate: float
    change: Mapping[str, Any]
    end: End
    step: int
    value: float | None
    why: str = ""
    parameters: int | None = None
    size_bytes: int | None = None
    best_seed: int | None = None
    runs: Sequence[SeedFigures] = ()

    def over_seeds(self, metric: str) -> Spread:
        return spread([run.metrics[metric] for run in self.runs])

    @property
    def train_seconds(self) -> float:
        """Of one run, on average."""
        return mean(run.train_seconds for run in self.runs)


@dataclass(frozen=True)
class Setting:
    """What all runs have in common; `rows` is None of a stream."""

    task: str
    model: str
    model_type: str
    base_parameters: int
    data: str
    eval_data: str
    rows: int | None
    eval_rows: int
    labels: int
    steps: int
    rows_a_step: int
    seeds: Sequence[int]


@dataclass(frozen=True)
class Sweep(Setting):
    """All that the table and the page are made from."""

    space: Mapping[str, Any]
    search: str
    rungs: Sequence[int]
    reduction_factor: int | None
    measure: Measure
    engine: str
    elapsed_seconds: float
    trials: Sequence[TrialFigures]
    machine: str
    versions: Mapping[str, str]

    @property
    def complete(self) -> list[TrialFigures]:
        """The best first."""
        return sorted((trial for trial in self.trials if trial.end == "complete"), key=self.rank)

    @property
    def ranked(self) -> list[TrialFigures]:
        """The complete ones, the best first; then the stopped ones, the longest first; then the failed ones."""
        pruned = [trial for trial in self.trials if trial.end == "pruned"]
        failed = [trial for trial in self.trials if trial.end == "failed"]
        sign = -1 if self.measure.higher_is_better else 1
        return [*self.complete, *sorted(pruned, key=lambda x: (-x.step, sign * (x.value or 0.0), x.number)), *failed]

    @property
    def best(self) -> TrialFigures:
        """Raises IndexError where no trial is complete."""
        return self.complete[0]

    def quality(self, trial: TrialFigures) -> Spread:
        return trial.over_seeds(self.measure.name)

    def rank(self, trial: TrialFigures) -> tuple[float, int, float, int]:
        """Less is better: the mean quality, of equals the parameters, then the loss, then who came first."""
        sign = -1 if self.measure.higher_is_better else 1
        loss = trial.over_seeds("loss").mean
        return sign * self.quality(trial).mean, trial.parameters or 0, loss, trial.number

    def front(self, cost: Callable[[TrialFigures], int | None]) -> list[TrialFigures]:
        """The Pareto front, the cheapest first: each is better than all that cost as much or less."""
        found: list[TrialFigures] = []
        for trial in sorted(self.complete, key=lambda trial: (cost(trial) or 0, self.rank(trial))):
            if not found or self.measure.gain(self.quality(trial).mean, self.quality(found[-1]).mean) > 0:
                found.append(trial)
        return found
