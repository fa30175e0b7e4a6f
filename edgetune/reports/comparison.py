"""A comparison as it goes, its table for the terminal, and the files that it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from edgetune.comparison.choice import choice_of
from edgetune.comparison.figures import Comparison, Latency, VariantFigures
from edgetune.comparison.plan import Run
from edgetune.comparison.running import BUNDLE, FIGURES
from edgetune.reports.interruption import telling_what_is_kept
from edgetune.reports.page.page import page
from edgetune.reports.page.paragraph import recommendation
from edgetune.reports.page.wording import ms_told, quality_name, quality_told, seconds_told, share_told, short_name
from edgetune.reports.sizes import sized
from edgetune.reports.training import training_report
from edgetune.sweep.workplace import PLAN
from edgetune.training.loop import Progress
from edgetune.training.unfinished import folder_of

FORMAT, FORMAT_VERSION = "edgetune-comparison", 1
PAGE = "report.html"


class ComparisonReport:
    """Says which run is on its way, with the run's own bar and evaluations below; the table at the end."""

    def __init__(self, console: Console, printed: Console) -> None:
        self.console, self.printed = console, printed

    @contextmanager
    def run(self, run: Run) -> Iterator[Callable[[Progress], None]]:
        self.say(run.described, style="bold")
        with training_report(run.config, self.console) as report:
            yield report.step

    def say(self, line: str, style: str | None = None) -> None:
        self.console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)

    def stage(self, name: str) -> None:
        self.say(name)

    @contextmanager
    def interruption(self, out: str) -> Iterator[None]:
        """What ends it inside and is no error of ours leaves the finished runs; it says how to go on from there."""

        def tell() -> None:
            if (folder_of(out) / PLAN).is_file():
                self.say("finished runs are kept; continue with --resume")

        with telling_what_is_kept(tell):
            yield

    def finish(self, out: str, comparison: Comparison | None) -> None:
        """None: there was nothing left to do."""
        if comparison is None:
            self.say(f"{Path(out)} was finished already")
            return
        self.printed.print(comparison_table(comparison))
        self.printed.print()
        self.printed.print(recommendation(comparison, choice_of(comparison)), highlight=False, markup=False)
        left = f"\npage in {Path(out, PAGE)}; bundle in {Path(out, BUNDLE)}"
        self.printed.print(left, highlight=False, soft_wrap=True)


def comparison_report() -> ComparisonReport:
    """Progress goes to stderr, the result to stdout."""
    return ComparisonReport(Console(stderr=True), Console())


def comparison_table(comparison: Comparison) -> Table:
    """Within 80 columns unless a variant's name is long; `of base` is a share of the base's parameters."""
    title = f"{short_name(comparison.model)}, {comparison.eval_rows:,} held-out rows, {comparison.steps:,} steps"
    look: dict[str, Any] = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}
    table = Table(title=title, title_justify="left", **look)
    first = ("first\ntoken", "each\nlater") if comparison.task == "generate" else ("per\ntext",)
    quality = quality_name(comparison).replace(" per", "\nper")
    heads = ("para-\nmeters", "of\nbase", "on\ndevice", quality, *first, "one\nrun")
    table.add_column("variant", overflow="fold", vertical="bottom")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for variant in comparison.variants:
        table.add_row(*cells(comparison, variant))
    if comparison.base:
        alone = [f"{comparison.base.metrics['loss']:.3f}", *latency_cells(comparison.base.latency)]
        table.add_row("base alone", "–", "–", "–", *alone, "–", style="dim")
    return table


def cells(comparison: Comparison, variant: VariantFigures) -> list[str]:
    return [
        variant.name,
        f"{variant.parameters:,}",
        share_told(comparison.share(variant)),
        sized(variant.size_bytes),
        quality_told(comparison.measure.name, comparison.quality(variant)),
        *latency_cells(variant.latency),
        seconds_told(variant.train_seconds),
    ]


def latency_cells(latency: Latency) -> list[str]:
    return [ms_told(latency.first_ms), *([] if latency.per_token_ms is None else [ms_told(latency.per_token_ms)])]


def files_of(comparison: Comparison) -> dict[str, str]:
    """The page and the figures, by file name."""
    return {PAGE: page(comparison, choice_of(comparison)), FIGURES: figures_text(comparison)}


def figures_text(comparison: Comparison) -> str:
    """All figures as JSON: those that were measured, and the means and spreads that follow from them."""
    choice = choice_of(comparison)
    whole: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(comparison)}
    whole["measure"] = asdict(comparison.measure)
    for variant, written in zip(comparison.variants, whole["variants"]):
        written["share_of_base"] = comparison.share(variant)
        written["quality"] = asdict(comparison.quality(variant))
        written["train_seconds"] = variant.train_seconds
        written["samples_per_second"] = variant.samples_per_second
    whole["recommendation"] = {**asdict(choice), "text": recommendation(comparison, choice)}
    return json.dumps(whole, ensure_ascii=False) + "\n"
