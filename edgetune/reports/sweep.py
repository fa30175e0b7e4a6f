"""A sweep as it goes, its table for the terminal, and the files that it leaves."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from edgetune.metrics import Measure, spread
from edgetune.reports.interruption import telling_what_is_kept
from edgetune.reports.page.sweep_page import best_told, cells_of, ends_told, quality_of, sweep_page
from edgetune.reports.page.wording import metric_named, quality_told, short_name
from edgetune.reports.training import training_report
from edgetune.sweep.figures import Sweep
from edgetune.sweep.records import Record, read_records
from edgetune.sweep.running import BEST, FIGURES
from edgetune.sweep.trial import Trial
from edgetune.sweep.workplace import PLAN
from edgetune.training.loop import Progress
from edgetune.training.unfinished import folder_of

FORMAT, FORMAT_VERSION = "edgetune-sweep", 1
PAGE, TRIALS = "report.html", "trials.csv"
MOST_ROWS = 20
"""Of the terminal's table."""


class SweepReport:
    """Says which trial is on its way, with its run's own bar and evaluations below; the table at the end."""

    def __init__(self, console: Console, printed: Console) -> None:
        self.console, self.printed = console, printed

    def say(self, line: str, style: str | None = None) -> None:
        self.console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def around(self, trial: Trial, seed: int) -> Iterator[Callable[[Progress], None]]:
        self.say(f"trial {trial.number}: {trial.variant.described}, seed {seed}", style="bold")
        with training_report(trial.variant.config, self.console) as report:
            yield report.step

    def ended(self, trial: Trial, record: Record, measure: Measure) -> None:
        told = "" if record.value is None else quality_told(measure.name, spread([record.value]))
        quality = metric_named(measure.name, trial.variant.config.task)
        ends = {
            "complete": f"{quality} {told}",
            "pruned": f"pruned at step {record.step}, {quality} {told}",
            "failed": f"failed: {record.why}",
        }
        self.say(f"trial {trial.number}, {trial.variant.name}: {ends[record.end]}")

    @contextmanager
    def interruption(self, out: str) -> Iterator[None]:
        """What ends it inside and is no error of ours leaves the trials; it says how to go on from there."""
        folder = folder_of(out)

        def tell() -> None:
            if (folder / PLAN).is_file():
                count = len(read_records(folder))
                self.say(f"{count} trial{'s' * (count != 1)} ended and are kept; continue with --resume")

        with telling_what_is_kept(tell):
            yield

    def finish(self, out: str, sweep: Sweep | None) -> None:
        """None: there was nothing left to do."""
        if sweep is None:
            self.say(f"{Path(out)} was finished already")
            return
        self.printed.print(sweep_table(sweep))
        self.printed.print()
        self.printed.print(best_told(sweep), highlight=False, markup=False)
        self.printed.print(f"\npage in {Path(out, PAGE)}; next:", highlight=False, soft_wrap=True)
        self.printed.print(export_command(sweep, out), highlight=False, markup=False, soft_wrap=True)


def sweep_report() -> SweepReport:
    """Progress goes to stderr, the result to stdout."""
    return SweepReport(Console(stderr=True), Console())


def export_command(sweep: Sweep, out: str | Path) -> str:
    return f"edgetune export --model {sweep.model} --adapter {Path(out, BEST)} --out BUNDLE"


def sweep_table(sweep: Sweep) -> Table:
    """The best first, MOST_ROWS of them."""
    title = f"{short_name(sweep.model)}, {len(sweep.trials)} configurations: {ends_told(sweep)}"
    look: dict[str, Any] = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}
    table = Table(title=title, title_justify="left", **look)
    table.add_column("configuration", overflow="fold", vertical="bottom")
    for head in (quality_of(sweep).replace(" per", "\nper"), "para-\nmeters", "on\ndevice", "one\nrun"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("end", vertical="bottom", overflow="fold")
    for trial in sweep.ranked[:MOST_ROWS]:
        table.add_row(trial.name, *cells_of(sweep, trial), style=None if trial.runs else "dim")
    if len(sweep.trials) > MOST_ROWS:
        table.add_row(f"… {len(sweep.trials) - MOST_ROWS} more in {TRIALS}", style="dim")
    return table


def files_of(out: str | Path) -> Callable[[Sweep], dict[str, str]]:
    """The page, the figures and the trials, by file name, of a sweep that will be at `out`."""

    def files(sweep: Sweep) -> dict[str, str]:
        page = sweep_page(sweep, export_command(sweep, out))
        return {PAGE: page, FIGURES: figures_text(sweep), TRIALS: trials_text(sweep)}

    return files


def figures_text(sweep: Sweep) -> str:
    """All figures as JSON: those that were measured, and the means and spreads that follow from them."""
    whole: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(sweep)}
    for trial, written in zip(sweep.trials, whole["trials"]):
        written["quality"] = asdict(sweep.quality(trial)) if trial.runs else None
    whole["best"] = sweep.best.name
    whole["front"] = {
        "parameters": [trial.name for trial in sweep.front(lambda trial: trial.parameters)],
        "size_bytes": [trial.name for trial in sweep.front(lambda trial: trial.size_bytes)],
    }
    return json.dumps(whole, ensure_ascii=False) + "\n"


def trials_text(sweep: Sweep) -> str:
    """A row a trial, the best first; its mean over seeds under the metric's name."""
    swept = [*sweep.space["choices"], *sweep.space["ranges"]]
    metric = sweep.measure.name
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        ["number", "name", *swept, "end", "step", metric, f"{metric}_deviation", "parameters", "size_bytes",
         "train_seconds", "why"]
    )  # fmt: skip
    for trial in sweep.ranked:
        quality = sweep.quality(trial) if trial.runs else None
        rows.writerow([
            trial.number, trial.name, *(trial.change[name] for name in swept), trial.end, trial.step,
            quality.mean if quality else trial.value, quality.deviation if quality else None, trial.parameters,
            trial.size_bytes, f"{trial.train_seconds:.3f}" if trial.runs else None, trial.why,
        ])  # fmt: skip
    return text.getvalue()
