"""One configuration from its first seed to its last, and where it may be stopped on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from edgetune.errors import ConfigError, EdgetuneError
from edgetune.metrics import Measure
from edgetune.models.base import Base
from edgetune.sweep.runs import KeptRun, kept_run
from edgetune.sweep.variant import Variant
from edgetune.training.loop import Progress

Judge = Callable[[int, float], bool]
"""Told the step and the value of an evaluation; whether the trial ends there."""
Told = Callable[[Progress], None]
Around = Callable[["Trial", int], AbstractContextManager[Told]]
"""Around the run of a trial with a seed; what it gives is called with each step."""


class Stopped(EdgetuneError):
    """A trial that was judged not worth its further steps."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(f"stopped at step {step}, at {value}")
        self.step, self.value = step, value


@dataclass(frozen=True)
class Trial:
    """A configuration, numbered from 0 in the order in which they were chosen."""

    number: int
    variant: Variant

    def folder(self, workplace: Path) -> Path:
        return workplace / "trials" / f"{self.number:04}"

    def run_folder(self, workplace: Path, seed: int) -> Path:
        return self.folder(workplace) / f"seed-{seed}"


def value_of(metrics: Mapping[str, float], measure: Measure) -> float:
    """Raises ConfigError for a metric that the rows do not give."""
    if measure.name not in metrics:
        raise ConfigError(f"these rows give no {measure.name}; rank by {', '.join(metrics)}")
    return metrics[measure.name]


def run_trial(
    trial: Trial,
    seeds: Sequence[int],
    measure: Measure,
    workplace: Path,
    base: Base,
    judge: Judge,
    around: Around,
) -> list[KeptRun]:
    """Trains each seed; finished runs of it are read instead, and an interrupted one goes on.

    The evaluations of the first seed are judged, all but its last: whoever gets through it runs the others too.

    Raises:
        Stopped: by the judge; the run leaves nothing then.
        EdgetuneError: what `train` refuses.
    """
    trial.folder(workplace).mkdir(parents=True, exist_ok=True)
    runs = []
    for i, seed in enumerate(seeds):
        with around(trial, seed) as tell:

            def report(progress: Progress, first: bool = i == 0, tell: Told = tell) -> None:
                tell(progress)
                if progress.metrics is None or not first or progress.step >= trial.variant.config.steps:
                    return
                value = value_of(progress.metrics, measure)
                if judge(progress.step, value):
                    raise Stopped(progress.step, value)

            config = replace(trial.variant.config, seed=seed)
            runs.append(kept_run(trial.run_folder(workplace, seed), config, base, report))
    return runs


def trial_value(runs: Sequence[KeptRun], measure: Measure) -> float:
    """The mean over the seeds."""
    return mean(value_of(run.metrics, measure) for run in runs)
