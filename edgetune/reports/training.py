"""A run as it goes: loss, rate, time left, evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edgetune.adapter import Adapter
from edgetune.config import TrainConfig
from edgetune.reports.sizes import sized, told
from edgetune.training.loop import Outcome
from edgetune.training.loop import Progress as Step

SMOOTHING = 0.9


class TrainingReport:
    """Draws a bar on a terminal, a line an evaluation elsewhere."""

    def __init__(self, console: Console, bar: Progress, config: TrainConfig) -> None:
        self.console, self.bar, self.config = console, bar, config
        self.task = bar.add_task("training", total=config.steps, loss="", rate="")
        self.smoothed: float | None = None

    def step(self, step: Step) -> None:
        if step.metrics is not None:
            self.console.print(f"step {step.step}: {told(step.metrics)}", highlight=False)
            return
        old = step.loss if self.smoothed is None else self.smoothed
        self.smoothed = SMOOTHING * old + (1 - SMOOTHING) * step.loss
        self.bar.update(
            self.task, completed=step.step, loss=f"loss {self.smoothed:.3f}", rate=f"{step.samples_per_second:.0f} rows/s"
        )

    def finish(self, out: str, adapter: Adapter, outcome: Outcome) -> None:
        kept = f"step {outcome.step}: {told(outcome.metrics)}" if outcome.metrics else f"step {outcome.step}"
        last = "" if self.smoothed is None else f", training loss {self.smoothed:.3f}"
        self.console.print(
            f"{adapter.method}, {adapter.virtual_tokens} virtual tokens, {adapter.parameters:,} parameters, "
            f"{sized(adapter.size_bytes)}; kept {kept}{last}; {outcome.seconds:.0f} s\n"
            f"adapter in {Path(out)}; next: edgetune export --model {self.config.model} --adapter {out} --out BUNDLE",
            highlight=False,
            soft_wrap=True,
        )


@contextmanager
def training_report(config: TrainConfig, console: Console | None = None) -> Iterator[TrainingReport]:
    console = console or Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield TrainingReport(console, bar, config)
