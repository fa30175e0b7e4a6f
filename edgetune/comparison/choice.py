"""Which variant to take, and why: a pure function of the figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from edgetune.comparison.figures import Comparison, VariantFigures

Reason = Literal["only", "better", "smaller", "faster", "fewer parameters", "trained sooner"]
"""What decided: nothing else was there; quality alone; or, among equals in quality, the first of these that differs."""

SAME_SIZE = 1.05
SAME_SPEED = 1.15
"""Ratios within which two files are as large, and two medians on a busy machine as fast."""

STILL_LEARNING = 0.98
"""The held-out loss fell below this fraction of itself between the last two evaluations."""


@dataclass(frozen=True)
class Choice:
    """The variant to take.

    Attributes:
        best: the one with the best mean quality.
        equals: all within one spread of the best, the best first.
        faster: the fastest of the equals, where it is clearly faster than the choice.
        over_base: whether its mean is better than the base alone; None where that has no quality.
        still_learning: variants whose held-out loss was still falling when the steps ended.
    """

    name: str
    reason: Reason
    best: str
    equals: tuple[str, ...]
    faster: str | None
    over_base: bool | None
    still_learning: tuple[str, ...]


def choice_of(comparison: Comparison) -> Choice:
    """The smallest of those that are as good as the best; of equal sizes the faster, of equal speeds the leaner."""
    ranked = by_quality(comparison)
    equals = [variant for variant in ranked if as_good(comparison, variant, ranked[0])]
    chosen, reason = decided(equals, alone=len(ranked) == 1)
    fastest = min(equals, key=answer_ms)
    base = comparison.base
    gain = comparison.measure.gain
    return Choice(
        name=chosen.name,
        reason=reason,
        best=ranked[0].name,
        equals=tuple(variant.name for variant in equals),
        faster=fastest.name if answer_ms(chosen) > SAME_SPEED * answer_ms(fastest) else None,
        over_base=gain(comparison.quality(chosen).mean, base.metrics[comparison.measure.name]) > 0 if base else None,
        still_learning=tuple(variant.name for variant in comparison.variants if still_learns(variant)),
    )


def by_quality(comparison: Comparison) -> list[VariantFigures]:
    """The best mean first; equals stay in the order in which they were asked for."""
    sign = -1 if comparison.measure.higher_is_better else 1
    return sorted(comparison.variants, key=lambda variant: sign * comparison.quality(variant).mean)


def as_good(comparison: Comparison, variant: VariantFigures, best: VariantFigures) -> bool:
    """Behind by no more than the larger of the two spreads over seeds; one seed has none, so only equals are equal."""
    a, b = comparison.quality(variant), comparison.quality(best)
    return comparison.measure.gain(b.mean, a.mean) <= max(a.deviation or 0.0, b.deviation or 0.0)


def decided(equals: Sequence[VariantFigures], *, alone: bool) -> tuple[VariantFigures, Reason]:
    if len(equals) == 1:
        return equals[0], "only" if alone else "better"
    tests: tuple[tuple[Reason, Callable[[VariantFigures], float], float], ...] = (
        ("smaller", lambda x: x.size_bytes, SAME_SIZE),
        ("faster", answer_ms, SAME_SPEED),
        ("fewer parameters", lambda x: x.parameters, 1.0),
    )
    left, reason = list(equals), None
    for name, cost, ratio in tests:
        least = min(map(cost, left))
        kept = [variant for variant in left if cost(variant) <= ratio * least]
        if len(kept) < len(left):
            left, reason = kept, name
        if len(left) == 1:
            return left[0], reason or name
    return min(left, key=lambda variant: variant.train_seconds), reason or "trained sooner"


def answer_ms(variant: VariantFigures, tokens: int = 32) -> float:
    """Of a classification, or of an answer of so many tokens."""
    return variant.latency.first_ms + (tokens - 1) * (variant.latency.per_token_ms or 0.0)


def still_learns(variant: VariantFigures) -> bool:
    """On average over the seeds, between the last two evaluations."""
    if any(len(run.evaluations) < 2 for run in variant.runs):
        return False
    before, last = (mean(run.evaluations[i][1]["loss"] for run in variant.runs) for i in (-2, -1))
    return last < STILL_LEARNING * before
