"""Metrics of answers against what was expected, and which of them a task is judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from edgetune_runtime.spans import entities, is_bio

MOST = 700.0
"""Of a loss: e to more than that is no number."""


@dataclass(frozen=True)
class Spread:
    """Values over seeds.

    Attributes:
        deviation: the sample's standard deviation; None for one seed, which has none.
    """

    mean: float
    deviation: float | None
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(mean(values), stdev(values) if len(values) > 1 else None, min(values), max(values))


@dataclass(frozen=True)
class Measure:
    """The metric that quality is compared by."""

    name: str
    higher_is_better: bool

    def gain(self, value: float, other: float) -> float:
        """How much better `value` is; negative where it is worse."""
        return value - other if self.higher_is_better else other - value


MEASURES = (Measure("f1", True), Measure("accuracy", True), Measure("mse", False), Measure("loss", False))
"""The first whose metric there is: entities of BIO tags, classes and other tags, numbers, written texts."""


def measure_of(metrics: Mapping[str, float]) -> Measure:
    """What decides between evaluations that give such metrics."""
    return next(measure for measure in MEASURES if measure.name in metrics)


def better(new: Mapping[str, float], old: Mapping[str, float] | None) -> bool:
    """By the task's own measure, then less loss."""
    if old is None:
        return True
    measure = measure_of(new)
    gain = measure.gain(new[measure.name], old[measure.name])
    return gain > 0 or (gain == 0 and new["loss"] < old["loss"])


def with_perplexity(metrics: Mapping[str, float]) -> dict[str, float]:
    """A generator's metrics with exp(loss per token) beside the loss."""
    return {**metrics, "perplexity": math.exp(min(metrics["loss"], MOST))}


def accuracy(expected: Sequence[Any], got: Sequence[Any]) -> float:
    """The share of answers that are right."""
    return sum(a == b for a, b in zip(expected, got)) / len(expected)


def macro_f1(expected: Sequence[Any], got: Sequence[Any]) -> float:
    """The mean over the expected labels of 2·TP / (2·TP + FP + FN); rare labels weigh as much as common ones."""
    scores = []
    for label in sorted(set(expected)):
        hits = sum(e == g == label for e, g in zip(expected, got))
        scores.append(2 * hits / (sum(e == label for e in expected) + sum(g == label for g in got)))
    return sum(scores) / len(scores)


def class_metrics(expected: Sequence[Any], got: Sequence[Any]) -> dict[str, float]:
    """`accuracy` and `macro_f1`."""
    return {"accuracy": accuracy(expected, got), "macro_f1": macro_f1(expected, got)}


def tag_metrics(
    expected: Sequence[Sequence[str]], got: Sequence[Sequence[str]], labels: Sequence[str]
) -> dict[str, float]:
    """`accuracy` over words and, where `labels` are BIO tags, `precision`, `recall` and `f1` of whole entities; of
    other tags `macro_f1`.

    An entity is right if kind, first and last word are (Tjong Kim Sang & De Meulder 2003, section 2.4; conlleval).
    """
    flat = [[tag for row in rows for tag in row] for rows in (expected, got)]
    if not is_bio(labels):
        return class_metrics(*flat)
    found = {"accuracy": accuracy(*flat)}
    wanted, given = ({(i, *x) for i, row in enumerate(rows) for x in entities(row)} for rows in (expected, got))
    right = len(wanted & given)
    found["precision"] = right / len(given) if given else 0.0
    found["recall"] = right / len(wanted) if wanted else 0.0
    found["f1"] = 2 * right / (len(wanted) + len(given)) if wanted or given else 0.0
    return found


def number_metrics(expected: Sequence[float], got: Sequence[float]) -> dict[str, float]:
    """`mse`, and the correlations `pearson` and `spearman`, as GLUE reports STS-B (Wang et al. 2018)."""
    mse = sum((a - b) ** 2 for a, b in zip(expected, got)) / len(expected)
    return {"mse": mse, "pearson": pearson(expected, got), "spearman": pearson(ranks(expected), ranks(got))}


def pearson(a: Sequence[float], b: Sequence[float]) -> float:
    """The correlation; 0 where one of the two does not vary, which leaves it undefined."""
    centred = [[x - math.fsum(values) / len(values) for x in values] for values in (a, b)]
    sizes = [math.sqrt(math.fsum(x * x for x in values)) for values in centred]
    if not all(sizes):
        return 0.0
    return math.fsum(x * y for x, y in zip(*centred)) / (sizes[0] * sizes[1])


def ranks(values: Sequence[float]) -> list[float]:
    """From 1; equal values share the mean of their ranks."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    found, at = [0.0] * len(values), 0
    while at < len(order):
        behind = at
        while behind < len(order) and values[order[behind]] == values[order[at]]:
            behind += 1
        for i in order[at:behind]:
            found[i] = (at + behind + 1) / 2
        at = behind
    return found
