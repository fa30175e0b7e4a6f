"""Loss curves: of training, smoothed, and on the held-out rows; a faint line a seed, a strong one for their mean."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from edgetune.comparison.figures import Comparison, VariantFigures
from edgetune.reports.page.axes import Scale, across, drawing, frame, padded, upwards
from edgetune.reports.page.marks import colour, dash
from edgetune.reports.page.markup import Markup, element
from edgetune.reports.page.scatter import count_told, value_told

Curve = list[tuple[int, float]]

SMOOTHING = 0.9
MOST_POINTS = 160


def training_plot(comparison: Comparison) -> Markup:
    """Each step's loss, smoothed over some ten steps before it."""
    curves = {v.name: [thinned(smoothed(run.losses)) for run in v.runs] for v in comparison.variants}
    return loss_plot("training", "Training loss by step", "training loss, smoothed", comparison, curves)


def held_out_plot(comparison: Comparison) -> Markup | None:
    """None where there are fewer than two evaluations to join."""
    curves = {
        v.name: [[(step, metrics["loss"]) for step, metrics in run.evaluations] for run in v.runs]
        for v in comparison.variants
    }
    if all(len(curve) < 2 for of_variant in curves.values() for curve in of_variant):
        return None
    return loss_plot("held-out", "Loss on the held-out rows by step", "held-out loss", comparison, curves)


def loss_plot(name: str, title: str, up_title: str, comparison: Comparison, curves: dict[str, list[Curve]]) -> Markup:
    points = [point for of_variant in curves.values() for curve in of_variant for point in curve]
    x = across(0, max(2, *(step for step, _ in points)))
    low, high = padded([value for _, value in points], share=0.06, least=0.01)
    y = upwards(max(0.0, low), high)
    parts = frame(x, y, "step", up_title, count_told, value_told("generate", y))
    for i, variant in enumerate(comparison.variants):
        parts.append(variant_curves(variant, curves[variant.name], i, x, y))
    told = "; ".join(described(variant, curves[variant.name]) for variant in comparison.variants)
    return drawing(name, title, told, parts)


def variant_curves(variant: VariantFigures, curves: Sequence[Curve], index: int, x: Scale, y: Scale) -> Markup:
    faint = [line(curve, x, y, "seed-curve", None) for curve in curves if len(curves) > 1]
    return element("g", *faint, line(mean_curve(curves), x, y, "curve", dash(index)), class_=colour(index))


def line(curve: Curve, x: Scale, y: Scale, kind: str, dashes: str | None) -> Markup:
    points = " ".join(f"{x.at(step):.1f},{y.at(value):.1f}" for step, value in curve)
    return element("polyline", points=points, class_=kind, stroke_dasharray=dashes)


def described(variant: VariantFigures, curves: Sequence[Curve]) -> str:
    curve = mean_curve(curves)
    return f"{variant.name}: {curve[0][1]:.3f} at step {curve[0][0]}, {curve[-1][1]:.3f} at step {curve[-1][0]}"


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Over the seeds, as far as all of them went."""
    return [(points[0][0], mean(value for _, value in points)) for points in zip(*curves)]


def smoothed(losses: Sequence[tuple[int, float]]) -> Curve:
    """An exponential mean that starts at the first value without being held there."""
    total, weight, curve = 0.0, 0.0, []
    for step, loss in losses:
        total, weight = SMOOTHING * total + loss, SMOOTHING * weight + 1
        curve.append((step, total / weight))
    return curve


def thinned(curve: Curve) -> Curve:
    """At most about MOST_POINTS, the first and the last among them."""
    stride = max(1, len(curve) // MOST_POINTS)
    kept = curve[::stride]
    return kept if not curve or kept[-1] == curve[-1] else [*kept, curve[-1]]
