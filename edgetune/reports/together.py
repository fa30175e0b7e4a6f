"""Runs of many tasks as they go: one bar for all, a line for each that is done, a table at the end."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from edgetune.metrics import measure_of
from edgetune.reports.interruption import telling_what_is_kept
from edgetune.reports.sizes import sized
from edgetune.together.result import Result
from edgetune.together.tasks import Task
from edgetune.training.loop import Progress as Step


class TogetherReport:
    """Steps of all tasks are counted together."""

    def __init__(self, console: Console, bar: Progress, tasks: Sequence[Task]) -> None:
        self.console, self.bar, self.tasks = console, bar, tasks
        total = sum(task.config.steps for task in tasks)
        self.row = bar.add_task(f"{len(tasks)} tasks", total=total, loss="", done="")
        self.steps: dict[str, int] = {}
        self.losses: dict[str, float] = {}
        self.finished, self.began = 0, time.perf_counter()

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)

    def step(self, name: str, step: Step) -> None:
        if step.metrics is not None:
            return
        if name not in self.steps and step.step > 1:
            self.say(f"{name}: continued after step {step.step - 1}")
        self.steps[name], self.losses[name] = step.step, step.loss
        mean = f"mean loss {fmean(self.losses.values()):.3f}"
        self.bar.update(self.row, completed=sum(self.steps.values()), loss=mean)

    def done(self, result: Result) -> None:
        """A task's result is in its place."""
        self.finished += 1
        name, outcome = result.task.name, result.outcome
        self.steps[name] = result.task.config.steps  # those that patience saved are not left to do
        self.losses.pop(name, None)
        count = f"{self.finished} of {len(self.tasks)} done"
        early = "" if outcome.stopped_at is None else f", stopped at step {outcome.stopped_at} (patience)"
        self.say(f"{name}: kept step {outcome.step}{judged(outcome.metrics)}{early} ({count})")
        self.bar.update(self.row, completed=sum(self.steps.values()), done=count)

    @contextmanager
    def interruption(self) -> Iterator[None]:
        """What ends the runs inside and is no error of ours leaves their states."""

        def tell() -> None:
            if self.steps and any(task.config.save_every for task in self.tasks):
                self.say(f"{self.finished} of {len(self.tasks)} tasks are done; continue the others with --resume")

        with telling_what_is_kept(tell):
            yield

    def finish(self, out: str, results: Sequence[Result]) -> None:
        table = Table(title=f"{len(results)} tasks, {time.perf_counter() - self.began:.0f} s", title_justify="left")
        table.add_column("task", no_wrap=True)
        for name in ("rows", "kept step", "metric", "adapter"):
            table.add_column(name, justify="right", no_wrap=True)
        for result in results:
            rows = "" if result.rows is None else f"{result.rows:,}"
            metric = judged(result.outcome.metrics).removeprefix(": ")
            size = sized(result.adapter.size_bytes)
            table.add_row(result.task.name, rows, str(result.outcome.step), metric, size)
        self.console.print(table)
        adapters = [x for result in results for x in ("--adapter", str(Path(out, result.task.name)))]
        words = ["edgetune", "export", "--model", results[0].task.config.model, *adapters, "--out", "BUNDLE"]
        self.say(f"adapters in {Path(out)}; next: {shlex.join(words)}")


def judged(metrics: dict[str, float] | None) -> str:
    """`: accuracy 0.9500`, by what decides; nothing without evaluation rows."""
    if metrics is None:
        return ""
    name = measure_of(metrics).name
    return f": {name} {metrics[name]:.4f}"


@contextmanager
def together_report(tasks: Sequence[Task], console: Console | None = None) -> Iterator[TogetherReport]:
    console = console or Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[done]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield TogetherReport(console, bar, tasks)
