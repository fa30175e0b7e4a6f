"""The folders that the runs of many tasks leave, one a task and each whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgetune.adapter import Adapter, load_adapter
from edgetune.config import TrainConfig, read_config
from edgetune.errors import ConfigError, EdgetuneError
from edgetune.models.base import WORDS, Base, load_base, refuse_purpose
from edgetune.models.rounding import rounded, weights_of
from edgetune.together.loop import fit_together
from edgetune.together.member import Member, Report
from edgetune.together.tasks import Task, naming
from edgetune.training.heads import refuse_unfit
from edgetune.training.loop import Outcome
from edgetune.training.result import CONFIG, logged_outcome, publish, published, refuse_taken
from edgetune.training.rows import rows_for
from edgetune.training.run import adapter_of, prepared
from edgetune.training.sets import Rows
from edgetune.training.tensorboard import curves
from edgetune.training.unfinished import LOG, STATE, Unfinished, folder_of, options_of, remove, unfinished

if sys.platform != "win32":
    import resource

OTHER_FILES = 256
"""Open at most, beside a log for each task."""


@dataclass(frozen=True)
class Result:
    """A task that is done.

    Attributes:
        rows: it was trained on; None for a stream, and for a task that was done before.
    """

    task: Task
    adapter: Adapter
    outcome: Outcome
    rows: int | None = None


def train_together_into(
    out: str | Path,
    tasks: Sequence[Task],
    report: Report = lambda _, __: None,
    finished: Callable[[Result], None] = lambda _: None,
    *,
    force: bool = False,
    resume: bool = False,
    base: Base | None = None,
) -> list[Result]:
    """Tunes all tasks in one go; `OUT/NAME` is what `train_into` leaves, and appears when that task is done.

    Until then a task's state is in `OUT/NAME.run`. With `resume` tasks that are done are left as they are, those that
    were begun go on, and others are begun.

    Raises:
        EdgetuneError: rows, options and base do not fit together, or a place is taken: told with the task's name before
            anything is trained. Afterwards, when all others are done, for tasks that could not go on.
    """
    existed = Path(out).exists()
    try:
        return Together(Path(out), tasks, report, finished, force=force, resume=resume).results(base)
    finally:
        if not existed:
            with suppress(OSError):
                Path(out).rmdir()  # which holds something, unless nothing was begun


class Together:
    """The runs of several tasks towards one folder."""

    def __init__(
        self, out: Path, tasks: Sequence[Task], report: Report, finished: Callable[[Result], None], *, force: bool,
        resume: bool,
    ) -> None:  # fmt: skip
        self.out, self.tasks, self.report, self.tell = out, tasks, report, finished
        self.force, self.resume = force, resume
        self.done: dict[str, Result] = {}
        self.failures: dict[str, EdgetuneError] = {}

    def results(self, base: Base | None) -> list[Result]:
        """In the order of the tasks."""
        left = [task for task in self.tasks if not (self.resume and self.was_done(task))]
        if self.resume and not self.done and not any((folder_of(self.out / x.name) / STATE).is_file() for x in left):
            raise ConfigError(f"nothing to resume: no task of {self.out} was begun. Start without --resume")
        for task in left:
            with naming(task.name):
                refuse_taken(self.out / task.name, force=self.force)
                refuse_unfit(task.config)
        if left:
            self.train(left, base)
        if self.failures:
            name, error = next(iter(self.failures.items()))
            others = f" ({len(self.failures)} tasks failed: {', '.join(self.failures)})" * (len(self.failures) > 1)
            raise type(error)(f"task {name!r}: {error}; the other tasks are done{others}") from error
        return [self.done[task.name] for task in self.tasks]

    def was_done(self, task: Task) -> bool:
        """It was, as it is asked for now; it is among the results then."""
        folder = self.out / task.name
        if published(folder):
            remove(folder_of(folder))
        if folder_of(folder).exists() or not (folder / CONFIG).is_file():
            return False
        if options_of(TrainConfig(**read_config(folder / CONFIG))) != options_of(task.config):
            return False
        self.done[task.name] = Result(task, load_adapter(folder), logged_outcome(folder / LOG))
        return True

    def train(self, tasks: Sequence[Task], base: Base | None) -> None:
        allow_open_files(len(tasks) + OTHER_FILES)
        with ExitStack() as every:
            runs = {task.name: self.opened(task, every) for task in tasks}
            rows = {}
            for task in tasks:
                with naming(task.name):
                    rows[task.name] = rows_for(task.config)
            base = base or base_for(tasks)
            with rounded(base, weights_of(tasks[0].config)):
                members = []
                for task in tasks:
                    with naming(task.name):
                        refuse_purpose(base, task.config.purpose)
                        work = prepared(base, task.config, *rows[task.name])
                        run, closing = runs[task.name]
                        draw = closing.enter_context(curves(task.config.tensorboard, run.step))
                        members.append(Member(task, work, run, [draw, partial(self.report, task.name)]))
                counts = {name: len(x.rows) if isinstance(x, Rows) else None for name, (x, *_) in rows.items()}

                def finish(member: Member) -> None:
                    task, outcome = member.task, member.outcome()
                    run, closing = runs[task.name]
                    adapter = adapter_of(member.work, task.config)
                    try:
                        publish(self.out / task.name, run, adapter, outcome, force=self.force)
                    except EdgetuneError as error:
                        return fail(member, error)
                    closing.close()
                    self.done[task.name] = Result(task, adapter, outcome, counts[task.name])
                    self.tell(self.done[task.name])

                def fail(member: Member, error: EdgetuneError) -> None:
                    self.failures[member.task.name] = error
                    with suppress(type(error)):
                        runs[member.task.name][1].__exit__(type(error), error, error.__traceback__)

                fit_together(members, finish, fail)

    def opened(self, task: Task, every: ExitStack) -> tuple[Unfinished, ExitStack]:
        """The task's run, and what ends it before the others'."""
        folder = self.out / task.name
        going_on = self.resume and (folder_of(folder) / STATE).is_file()
        closing = every.enter_context(ExitStack())
        with naming(task.name):
            run = closing.enter_context(unfinished(folder, task.config, force=self.force, resume=going_on))
        return run, closing


def allow_open_files(count: int) -> None:
    """As many as that at once, where the system lets a process have more than it starts with."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def base_for(tasks: Sequence[Task]) -> Base:
    """The one base of all: with its output head if any task is answered by words."""
    purposes = [task.config.purpose for task in tasks]
    return load_base(tasks[0].config.model, WORDS if WORDS in purposes else purposes[0])
