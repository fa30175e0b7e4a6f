"""Figures of a comparison as people read them; the terminal and the page use the same words."""

from __future__ import annotations

import math
from pathlib import PurePath

from edgetune.comparison.figures import Comparison
from edgetune.metrics import Spread

QUALITIES = {"accuracy": "accuracy", "f1": "entity F1", "mse": "squared error", "loss": "loss per token"}
"""By the name of the metric that quality is compared by."""
SHARES = ("accuracy", "f1", "macro_f1", "precision", "recall")
"""Metrics between 0 and 1, told in percent."""
GENERIC = {"model", "checkpoint", "base", "main", "latest", "output"}
"""Folder names that say nothing of the model in them."""


def metric_named(name: str, task: str) -> str:
    """What a metric of the task is called: `entity F1`; those without a name of their own are what they are."""
    if name == "loss" and task != "generate":
        return "loss"
    return QUALITIES.get(name, name.replace("_", "-"))


def quality_name(comparison: Comparison) -> str:
    return metric_named(comparison.measure.name, comparison.task)


def quality_told(metric: str, spread: Spread) -> str:
    """`91.2 ± 0.8 %`, or `2.134 ± 0.012`; no spread for one seed."""
    if metric in SHARES:
        around = "" if spread.deviation is None else f" ± {spread.deviation * 100:.1f}"
        return f"{spread.mean * 100:.1f}{around} %"
    around = "" if spread.deviation is None else f" ± {spread.deviation:.3f}"
    return f"{spread.mean:.3f}{around}"


def share_told(fraction: float) -> str:
    """Two digits that count: `0.42 %`, `12 %`, `0.0031 %`."""
    percent = fraction * 100
    if percent <= 0:
        return "0 %"
    digits = max(0, 1 - math.floor(math.log10(percent)))
    return f"{percent:.{digits}f} %"


def ms_told(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f} ms" if value < 1 else f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def seconds_told(value: float) -> str:
    if value < 10:
        return f"{value:.1f} s"
    return f"{value:.0f} s" if value < 600 else f"{value / 60:.0f} min"


def short_name(model: str) -> str:
    """The last part of a hub id or a path that says something."""
    parts = [part for part in PurePath(model).parts if part not in ("/", ".", "..")]
    useful = [part for part in parts if part.lower() not in GENERIC]
    return useful[-1] if useful else model


def sampling_error(comparison: Comparison, accuracy: float) -> float:
    """Standard error of an accuracy from the finite number of held-out rows, whatever the seed."""
    return math.sqrt(accuracy * (1 - accuracy) / comparison.eval_rows)


def joined(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
