"""The training loop: AdamW, warm-up and linear decay, periodic evaluation, the best checkpoint kept."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.methods.tuned import Tuned
from edgetune.training.batches import Batch, step_batches
from edgetune.training.examples import Example
from edgetune.training.objective import better, loss, measured
from edgetune.training.state import (
    Course, State, contents, draws_of, joined, learned, moments, part, set_moments, set_values, values,
)  # fmt: skip
from edgetune.training.unfinished import Unfinished


@dataclass(frozen=True)
class Progress:
    """One step, or one evaluation (`metrics`), of a run.

    Attributes:
        loss: the step's; smoothed it is the caller's.
        learning_rate: of this step.
        samples_per_second: since the run began, evaluations left out.
    """

    step: int
    loss: float
    learning_rate: float
    samples_per_second: float
    metrics: dict[str, float] | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `step` and `metrics` of the checkpoint that was kept (None without evaluation data).

    `stopped_at` is the last step of a run that `patience` ended early.
    """

    step: int
    metrics: dict[str, float] | None
    samples_per_second: float
    seconds: float
    stopped_at: int | None = None


def rate_at(step: int, steps: int, warmup: float) -> float:
    """Fraction of the peak rate at a step counted from 0: a linear rise, then a linear fall to zero."""
    rising = max(1, round(steps * warmup))
    return (step + 1) / rising if step < rising else max(0.0, (steps - step) / max(1, steps - rising))
