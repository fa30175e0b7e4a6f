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
    table = Table(title=title, title_justify="left")
    for name in ("method", "virtual", "parameters", "of base", "bytes", "accuracy", "latency", "trained"):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for r in results:
        table.add_row(
            r.method,
            str(r.virtual_tokens),
            f"{r.parameters:,}",
            f"{r.parameters / r.base_parameters:.2%}",
            sized(r.size_bytes),
            f"{r.accuracy:.1%}",
            f"{r.latency_ms:.1f} ms",
            f"{r.train_seconds:.0f} s",
        )
    return table
