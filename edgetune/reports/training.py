"""A run as it goes: loss, rate, time left, evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edgetune.adapter import Adapter
from edgetune.config import TrainConfig
from edgetune.errors import EdgetuneError, Terminated
from edgetune.reports.interruption import telling_what_is_kept
from edgetune.reports.sizes import sized, told
from edgetune.training.loop import Outcome
from edgetune.training.loop import Progress as Step
from edgetune.training.unfinished import steps_kept

SMOOTHING = 0.9


class TrainingReport:
    """Draws a bar on a terminal, a line an evaluation elsewhere."""

    def __init__(self, console: Console, bar: Progress, config: TrainConfig) -> None:
        self.console, self.bar, self.config = console, bar, config
        self.task = bar.add_task("training", total=config.steps, loss="", rate="")
        self.smoothed: float | None = None

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)

    def step(self, step: Step) -> None:
        if self.smoothed is None and step.step > 1:
            self.say(f"continued after step {step.step - 1}")
        if step.metrics is not None:
            self.say(f"step {step.step}: {told(step.metrics)}")
            return
        old = step.loss if self.smoothed is None else self.smoothed
        self.smoothed = SMOOTHING * old + (1 - SMOOTHING) * step.loss
        self.bar.update(
            self.task,
            completed=step.step,
            loss=f"loss {self.smoothed:.3f}",
            rate=f"{step.samples_per_second:.0f} rows/s",
        )

    @contextmanager
    def interruption(self, out: str) -> Iterator[None]:
        """What ends the run inside and is no error of ours leaves a state; it says how to go on from there."""

        def tell() -> None:
            steps = None if self.console.quiet else steps_kept(out)
            if steps is not None:
                self.say(f"{steps} of {self.config.steps} steps are kept; continue with --resume")

        with telling_what_is_kept(tell, but=(EdgetuneError, Terminated)):
            yield

    def finish(self, out: str, adapter: Adapter, outcome: Outcome) -> None:
        kept = f"step {outcome.step}: {told(outcome.metrics)}" if outcome.metrics else f"step {outcome.step}"
        last = "" if self.smoothed is None else f", training loss {self.smoothed:.3f}"
        if outcome.stopped_at is not None:
            times = "evaluation" if self.config.patience == 1 else "evaluations"
            self.say(f"stopped at step {outcome.stopped_at}: no improvement in {self.config.patience} {times}")
        self.say(
            f"{adapter.method}, {adapter.virtual_tokens} virtual tokens, {adapter.parameters:,} parameters, "
            f"{sized(adapter.size_bytes)}; kept {kept}{last}; {outcome.seconds:.0f} s\n"
            f"adapter in {Path(out)}; next: edgetune export --model {self.config.model} --adapter {out} --out BUNDLE"
        )


@contextmanager
def training_report(
    config: TrainConfig, console: Console | None = None, *, quiet: bool = False
) -> Iterator[TrainingReport]:
    console = console or Console(stderr=True, quiet=quiet)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield TrainingReport(console, bar, config)
