"""The training loop: AdamW, warm-up and linear decay, periodic evaluation, the best checkpoint kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError, Terminated
from edgetune.methods.tuned import Tuned
from edgetune.training.batches import Batch, step_batches
from edgetune.training.examples import Example
from edgetune.training.learner import Learner
from edgetune.training.objective import measured
from edgetune.training.processes import ALONE, Extent, Processes
from edgetune.training.source import Held, Source
from edgetune.training.state import Course, State, contents, joined, named, part, values
from edgetune.training.termination import Notice, noted_termination
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


def learned(tuned: Tuned) -> list[torch.nn.Parameter]:
    return list(named(tuned).values())


def learned_state(tuned: Tuned) -> list[torch.Tensor]:
    return list(values(named(tuned)).values())


def fit(
    tuned: Tuned,
    config: TrainConfig,
    source: Source | Sequence[Example],
    held_out: Sequence[Example] = (),
    report: Callable[[Progress], None] = lambda _: None,
    run: Unfinished | None = None,
    processes: Processes = ALONE,
) -> Outcome:
    """Trains the learned parts of `tuned` in place and leaves the best of them, on `held_out`, or the last.

    With `run` it goes on where that was left, and ends as if it had never been away. Of several processes the first
    alone has one, and each takes its share of every step's rows: the steps are those of one process.

    Raises:
        ConfigError: the loss is no longer a number, or `run` was begun with something else.
        Terminated: SIGTERM came, and a state was saved behind the step that was under way.
    """
    if config.patience is not None and not held_out:
        raise ConfigError("patience counts evaluations and there are no rows for them: give --eval-data")
    base = tuned.base
    source = Held(source) if isinstance(source, Sequence) else source
    learner = Learner(tuned, config)
    course, place = Course(), {}
    if run or processes.count > 1:
        learner.start_from(processes)
        course, place = taken_up(run, learner, contents(tuned, source.digest, held_out), source, processes)
    began, peak = time.perf_counter() - course.seconds, config.peak_learning_rate
    drawn = source.steps(config.batch_size * config.accumulate, config.seed, course.step, place)

    def batches_of(rows: Sequence[Any]) -> list[Batch]:
        device = base.model.device
        found = step_batches(source.examples(rows), config.batch_size, base.pad_token_id, device.type)
        return [batch.to(device) for batch in found]

    def evaluate(course: Course, loss: float, rate: float) -> Course:
        metrics = measured(tuned, held_out, processes=processes)
        report(Progress(course.step, loss, rate, course.samples_per_second, metrics))
        course = course.after_evaluation(metrics)
        if not course.stale:
            learner.keep_best()
        return course

    with noted_termination(together=processes.count > 1) if run or processes.count > 1 else nullcontext() as notice:
        while course.step < config.steps and not out_of_patience(course, config):
            start, rate = time.perf_counter(), peak * rate_at(course.step, config.steps, config.warmup)
            rows = next(drawn)
            batches = batches_of(processes.share(rows))
            extent = extent_of(batches, notice, processes)
            if processes.sharding and len(batches) < extent.passes:
                idle = replace(batches_of(rows[:1])[0], idle=True)
                batches += [idle] * (extent.passes - len(batches))
            loss = learner.step(batches, rate, course.step + 1, processes, extent.losses)
            refuse_infinite(loss, course.step + 1, peak)
            course = course.after_step(extent.rows, time.perf_counter() - start)
            report(Progress(course.step, loss, rate, course.samples_per_second))
            evaluates = bool(held_out) and evaluation_due(course, config)
            if evaluates:
                course = evaluate(course, loss, rate)
            stops = extent.stops and course.step < config.steps
            if run and (run.due(course.step, evaluates) or stops):
                timed = replace(course, seconds=time.perf_counter() - began)
                run.save(State(timed, learner.tensors() | rows_of(source)))
            if stops:
                raise stopped_behind(course, config, processes)
    if held_out and config.steps == 0:
        course = evaluate(course, math.nan, 0.0)
    learner.leave_best()
    return outcome_of(course, config, time.perf_counter() - began)


def refuse_infinite(loss: float, step: int, peak: float) -> None:
    """Raises ConfigError for a step's loss that is no number; `peak` is the run's learning rate."""
    if not math.isfinite(loss):
        raise ConfigError(f"the loss is {loss} at step {step}; a learning rate below {peak:g} may help")


def outcome_of(course: Course, config: TrainConfig, seconds: float) -> Outcome:
    """How a run ended that came this far."""
    kept = course.step if course.best_step is None else course.best_step
    stopped_at = course.step if course.step < config.steps else None
    return Outcome(kept, course.best, course.samples_per_second, seconds, stopped_at)


def extent_of(batches: Sequence[Batch], notice: Notice | None, processes: Processes) -> Extent:
    """Of the step that consists of everybody's batches."""
    losses, rows = sum(batch.losses for batch in batches), sum(batch.rows for batch in batches)
    return processes.extent(losses, rows, len(batches), notice is not None and notice.given)


def stopped_behind(course: Course, config: TrainConfig, processes: Processes) -> Terminated:
    """What is raised behind a step when SIGTERM has come, once the state is saved."""
    processes.of_all(None)  # the process that saves may take longer than a launcher waits behind another's end
    kept = "continue with --resume" if config.save_every else "nothing is kept, as --save-every 0 asks for"
    return Terminated(f"stopped after step {course.step} of {config.steps}; {kept}")


def taken_up(
    run: Unfinished | None, learner: Learner, contents: dict[str, str], source: Source, processes: Processes
) -> tuple[Course, dict[str, Tensor]]:
    """How far the run had come and where its rows stood, with the learner as then; a new one is saved at once."""
    refuse_differences(processes.of_all(contents))
    left = processes.from_main(lambda: run.begin(contents) if run else None)
    if left:
        learner.restore(left.tensors)
        return left.course, part(left.tensors, "rows")
    if run:
        run.save(State(Course(), learner.tensors() | rows_of(source)))
    return Course(), {}


def refuse_differences(contents: Sequence[dict[str, str]]) -> None:
    """Raises ConfigError where a process works on something else than the first."""
    for rank, of_one in enumerate(contents):
        if other := [name for name in contents[0] if of_one[name] != contents[0][name]]:
            raise ConfigError(
                f"the process {rank} has other values of {', '.join(other)} than the process 0. Give every machine the "
                "same files"
            )


def rows_of(source: Source) -> dict[str, Tensor]:
    return joined(rows=source.place())


def evaluation_due(course: Course, config: TrainConfig) -> bool:
    return course.step % config.eval_every == 0 or course.step == config.steps


def out_of_patience(course: Course, config: TrainConfig) -> bool:
    return config.patience is not None and course.stale >= config.patience
