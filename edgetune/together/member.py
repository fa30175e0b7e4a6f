"""One task among many: how far it has come, what it draws, what it writes down."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from torch import Tensor

from edgetune.errors import ConfigError
from edgetune.methods.tuned import Tuned
from edgetune.together.tasks import Task
from edgetune.training.examples import Example
from edgetune.training.learner import Learner
from edgetune.training.loop import (
    Outcome,
    Progress,
    evaluation_due,
    out_of_patience,
    outcome_of,
    rate_at,
    refuse_infinite,
    rows_of,
)
from edgetune.training.run import Prepared
from edgetune.training.state import Course, State, contents, part
from edgetune.training.unfinished import Unfinished, refuse_changes

Report = Callable[[str, Progress], None]


class Member:
    """A task under way; `course` is how far it has come."""

    def __init__(self, task: Task, work: Prepared, run: Unfinished, reports: Sequence[Callable[[Progress], None]]):
        """`reports` are called with each step and each evaluation, which the log has as well."""
        self.task, self.config, self.work, self.run, self.reports = task, task.config, work, run, reports
        if self.config.patience is not None and not work.held_out:
            raise ConfigError("patience counts evaluations and there are no rows for them: give eval_data")
        self.learner = Learner(work.tuned, self.config)
        self.contents = contents(work.tuned, work.source.digest, work.held_out)
        self.course, self.saved, self.loss, self.rate = Course(), -1, math.nan, 0.0

    @property
    def tuned(self) -> Tuned:
        return self.work.tuned

    @property
    def done(self) -> bool:
        return self.course.step >= self.config.steps or out_of_patience(self.course, self.config)

    def refuse_changes(self) -> None:
        """Raises ConfigError for a run that was left and was begun with something else."""
        if self.run.saved:
            refuse_changes(self.run.folder, self.run.saved.contents, self.contents)

    def begin(self) -> None:
        """From the start, or from where it was left."""
        left, place = self.run.begin(self.contents), dict[str, Tensor]()
        self.began = time.perf_counter() - (left.course.seconds if left else 0.0)
        if left:
            self.learner.restore(left.tensors)
            self.course, place, self.saved = left.course, part(left.tensors, "rows"), left.course.step
        self.save()
        count = self.config.batch_size * self.config.accumulate
        self.drawn = self.work.source.steps(count, self.config.seed, self.course.step, place)

    def draw(self) -> list[Example]:
        """The rows of its next step, those of its own run."""
        self.learner.optimizer.zero_grad()
        return self.work.source.examples(next(self.drawn))

    def step(self, loss: float, rows: int, seconds: float) -> None:
        """The update for which the gradient is there; `seconds` are its rows' share of the time.

        Raises:
            ConfigError: the loss is no longer a number.
        """
        peak = self.config.peak_learning_rate
        refuse_infinite(loss, self.course.step + 1, peak)
        self.loss, self.rate = loss, peak * rate_at(self.course.step, self.config.steps, self.config.warmup)
        self.learner.update(self.rate)
        self.course = self.course.after_step(rows, seconds)
        self.report(None)

    def evaluates(self) -> bool:
        """An evaluation is due behind the last step."""
        return bool(self.work.held_out) and evaluation_due(self.course, self.config)

    def judge(self, metrics: dict[str, float]) -> None:
        """Keeps what was learned if it is the best so far."""
        self.report(metrics)
        self.course = self.course.after_evaluation(metrics)
        if not self.course.stale:
            self.learner.keep_best()

    def report(self, metrics: dict[str, float] | None) -> None:
        progress = Progress(self.course.step, self.loss, self.rate, self.course.samples_per_second, metrics)
        self.run.record(asdict(progress))
        for report in self.reports:
            report(progress)

    def save(self) -> None:
        """A run that continues does so from here."""
        if self.saved != self.course.step:
            course = replace(self.course, seconds=time.perf_counter() - self.began)
            self.run.save(State(course, self.learner.tensors() | rows_of(self.work.source)))
            self.saved = self.course.step

    def outcome(self) -> Outcome:
        """How it ended; `tuned` holds the best that was learned then."""
        self.learner.leave_best()
        return outcome_of(self.course, self.config, time.perf_counter() - self.began)
