"""Methods side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from edgetune.reports.sizes import sized


@dataclass(frozen=True)
class MethodResult:
    """One method on one task.

    Attributes:
        parameters: all that was learned, the head included.
        size_bytes: of the file that ships.
        accuracy: of the bundle on held-out rows.
        latency_ms: median of one text, on this machine.
    """

    method: str
    virtual_tokens: int
    parameters: int
    base_parameters: int
    size_bytes: int
    accuracy: float
    latency_ms: float
    train_seconds: float


def method_table(results: Sequence[MethodResult], title: str) -> Table:
    """One column a method, so that it fits a narrow terminal."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for r in results:
        table.add_column(r.method, justify="right", no_wrap=True)
    rows = {
        "virtual tokens": lambda r: str(r.virtual_tokens),
        "parameters learned": lambda r: f"{r.parameters:,}",
        "of the base": lambda r: f"{r.parameters / r.base_parameters:.2%}",
        "file": lambda r: sized(r.size_bytes),
        "accuracy": lambda r: f"{r.accuracy:.1%}",
        "latency, one text": lambda r: f"{r.latency_ms:.1f} ms",
        "training": lambda r: f"{r.train_seconds:.0f} s",
    }
    for name, cell in rows.items():
        table.add_row(name, *map(cell, results))
    return table
