"""The training loop: AdamW, warm-up and linear decay, periodic evaluation, the best checkpoint kept."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError
from edgetune.methods.tuned import Tuned
from edgetune.training.batches import shuffled
from edgetune.training.examples import Example
from edgetune.training.objective import better, loss, measured


@dataclass(frozen=True)
class Progress:
    """One step, or one evaluation (`metrics`), of a run.

    Attributes:
        loss: the batch's; smoothed it is the caller's.
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
    """How a run ended: `step` and `metrics` of the checkpoint that was kept (None without evaluation data)."""

    step: int
    metrics: dict[str, float] | None
    samples_per_second: float
    seconds: float


def rate_at(step: int, steps: int, warmup: float) -> float:
    """Fraction of the peak rate at a step counted from 0: a linear rise, then a linear fall to zero."""
    rising = max(1, round(steps * warmup))
    return (step + 1) / rising if step < rising else max(0.0, (steps - step) / max(1, steps - rising))


def learned(tuned: Tuned) -> list[torch.nn.Parameter]:
    return [p for p in tuned.parameters() if p.requires_grad]


def learned_state(tuned: Tuned) -> list[torch.Tensor]:
    return [p.detach().clone() for p in learned(tuned)]


def fit(
    tuned: Tuned,
    config: TrainConfig,
    examples: Sequence[Example],
    held_out: Sequence[Example] = (),
    report: Callable[[Progress], None] = lambda _: None,
) -> Outcome:
    """Trains the learned parts of `tuned` in place and leaves the best of them, on `held_out`, or the last.

    Raises:
        ConfigError: the loss is no longer a number.
    """
    parameters = learned(tuned)
    peak = config.peak_learning_rate
    optimizer = torch.optim.AdamW(parameters, lr=peak, weight_decay=config.weight_decay)
    batches = shuffled(examples, config.batch_size, tuned.base.pad_token_id, random.Random(config.seed))
    best, kept, kept_at = None, None, config.steps
    began, training_seconds, rows, last = time.perf_counter(), 0.0, 0, math.nan

    def speed() -> float:
        return rows / training_seconds if training_seconds else 0.0

    def evaluate(step: int) -> None:
        nonlocal best, kept, kept_at
        metrics = measured(tuned, held_out)
        if better(metrics, best):
            best, kept, kept_at = metrics, learned_state(tuned), step
        report(Progress(step, last, peak * rate_at(step - 1, config.steps, config.warmup), speed(), metrics))

    for step in range(1, config.steps + 1):
        start = time.perf_counter()
        rate = peak * rate_at(step - 1, config.steps, config.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = next(batches)
        value = loss(tuned, batch)
        optimizer.zero_grad()
        value.backward()
        if config.clip_norm:
            torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        optimizer.step()
        last = value.item()
        if not math.isfinite(last):
            raise ConfigError(f"the loss is {last} at step {step}; a learning rate below {peak:g} may help")
        rows += batch.rows
        training_seconds += time.perf_counter() - start
        report(Progress(step, last, rate, speed()))
        if held_out and (step % config.eval_every == 0 or step == config.steps):
            evaluate(step)
    if held_out and config.steps == 0:
        evaluate(0)
    if kept is not None:
        with torch.no_grad():
            for parameter, value in zip(parameters, copy.copy(kept)):
                parameter.copy_(value)
    return Outcome(kept_at, best, speed(), time.perf_counter() - began)
