"""An export as it goes, and what it left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from edgetune.errors import AdapterError
from edgetune.reports.sizes import sized

if TYPE_CHECKING:
    from edgetune_export.bundle import Exported
    from edgetune_export.quality import Quality

    from edgetune.models.base import Base


def named_adapters(given: tuple[str, ...]) -> dict[str, str]:
    """`NAME=FOLDER`, or a folder that gives its own name → name to folder, in the order given."""
    found: dict[str, str] = {}
    for text in given:
        name, separator, folder = text.partition("=")
        if not separator or Path(text).exists():
            name, folder = Path(text).resolve().name, text
        if name in found:
            raise AdapterError(f"two adapters are named {name!r}; name them with NAME=FOLDER")
        found[name] = folder
    return found


class ExportReport:
    """A bar on a terminal, of the stage that runs; the summary everywhere."""

    def __init__(self, console: Console, bar: Progress) -> None:
        self.console, self.bar = console, bar
        self.task = bar.add_task("loading", total=None)
        self.running = "loading"

    def stage(self, stage: str, done: int = 0, total: int = 0) -> None:
        if stage != self.running:
            self.running = stage
            self.bar.reset(self.task, description=stage, total=None)
        self.bar.update(self.task, completed=done, total=total or None)

    def finish(self, result: Exported, base: Base, measured: Mapping[str, Quality] | None = None) -> None:
        lines = [f"{base.name} ({base.model_type}, {base.parameters:,} parameters) in {result.path}:"]
        lines += [f"  {name:<32} {sized(size):>9}" for name, size in result.sizes.items()]
        lines += [f"  {'in all, ' + result.weights.precision:<32} {sized(result.size_bytes):>9}"]
        weights = "torch" if not result.weights.rounds else "torch with the same rounded weights"
        lines += [
            f"verified against {weights}, largest difference of logits "
            f"{max((c.difference for c in result.checks), default=0):.1e}:"
        ]
        lines += [f"  {check.what:<40} {check.difference:.1e}" for check in result.checks]
        lines += [f"  allowed: {result.tolerance:.0e} of the largest logit"]
        lines += [f"note: {name} was tuned for other weights; --recover adapts it" for name in result.tuned_otherwise]
        for name, quality in (measured or {}).items():
            lines += [
                f"{name}, on {quality.torch['rows']:,.0f} rows: torch fp32, this bundle in {result.weights.precision}:"
            ]
            lines += [
                f"  {metric:<12} {quality.torch[metric]:>9.4f} {quality.bundle[metric]:>9.4f}"
                for metric in quality.torch if metric in quality.bundle and metric != "rows"
            ]  # fmt: skip
        answers = base.kind != "encoder" or result.adapters
        lines += [f"next: edgetune {'run' if answers else 'add-adapter'} {result.path}{'' if answers else ' ADAPTER'}"]
        self.console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


@contextmanager
def export_report(console: Console | None = None) -> Iterator[ExportReport]:
    console = console or Console(stderr=True)
    shown = (SpinnerColumn(), TextColumn("{task.description:<10}"), BarColumn(), TaskProgressColumn())
    with Progress(*shown, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal) as bar:
        yield ExportReport(console, bar)
