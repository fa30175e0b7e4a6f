"""Plots are whole XML and every value lies where its axis says."""

import xml.etree.ElementTree as ElementTree

import pytest

from edgetune.reports.page.axes import HEIGHT, WIDTH, even_ticks, log_ticks, upwards
from edgetune.reports.page.loss_plot import held_out_plot, smoothed, thinned, training_plot
from edgetune.reports.page.quality_plot import points_of, quality_plot
from edgetune.reports.page.scatter import labels

from .made import comparison_of, four_variants, variant_of

SVG = "{http://www.w3.org/2000/svg}"


def parsed(markup):
    return ElementTree.fromstring(str(markup))


def marks(svg):
    """Centres of the large marks."""
    found = []
    for x in svg.iter():
        if x.get("class") == "mean" and x.tag == f"{SVG}circle":
            found.append((float(x.get("cx")), float(x.get("cy"))))
        if x.get("class") == "mean" and x.tag == f"{SVG}rect":
            side = float(x.get("width")) / 2
            found.append((float(x.get("x")) + side, float(x.get("y")) + side))
    return found


def ticks(svg, kind, axis):
    """(value, pixel) of an axis, read off its labels."""
    found = [x for x in svg.iter(f"{SVG}text") if x.get("class") == f"tick {kind}"]
    return [(x.text, float(x.get(axis))) for x in found]


@pytest.mark.parametrize("task", ["classify", "generate"])
@pytest.mark.parametrize("plot", [quality_plot, training_plot, held_out_plot])
def test_a_plot_says_what_it_shows(plot, task):
    svg = parsed(plot(four_variants(task)))
    title, description = svg[0], svg[1]
    assert (title.tag, description.tag) == (f"{SVG}title", f"{SVG}desc")
    assert svg.get("aria-labelledby").split() == [title.get("id"), description.get("id")]
    assert svg.get("role") == "img" and "prefix-20" in description.text


def test_marks_lie_where_the_axis_has_their_values():
    comparison = four_variants()
    svg = parsed(quality_plot(comparison))
    (low, low_y), *_, (high, high_y) = [(float(t.rstrip(" %")), y - 4.5) for t, y in ticks(svg, "end", "y")]
    for variant, (_, y) in zip(comparison.variants, marks(svg), strict=True):
        told = low + (y - low_y) / (high_y - low_y) * (high - low)
        assert told == pytest.approx(comparison.quality(variant).mean * 100, abs=0.05)


def test_more_parameters_lie_further_right():
    xs = [x for x, _ in marks(parsed(quality_plot(four_variants())))]
    assert xs == sorted(xs) and len(set(xs)) == 4
    assert all(0 < x < WIDTH for x in xs)


def test_labels_do_not_cover_each_other():
    from edgetune.reports.page.axes import across

    near = [variant_of(f"prefix-{i}", [0.9 + i / 1e4, 0.91], parameters=10_000 + i) for i in range(4)]
    placed = labels(points_of(comparison_of(*near)), across(5_000, 20_000, logarithmic=True), upwards(0.8, 1.0))
    boxes = [label.box for label in placed]
    assert not any(a.shared(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_curve_goes_through_every_step():
    comparison = comparison_of(variant_of("prompt-20", [0.9, 0.91]))
    lines = [x for x in parsed(training_plot(comparison)).iter(f"{SVG}polyline")]
    assert [x.get("class") for x in lines] == ["seed-curve", "seed-curve", "curve"]
    points = [tuple(map(float, point.split(","))) for point in lines[-1].get("points").split()]
    assert len(points) == 100
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert points[0][1] < points[-1][1]  # the loss falls, so its pixel goes down


def test_one_evaluation_is_no_curve():
    from dataclasses import replace

    variant = variant_of("prompt-20", [0.9])
    once = replace(variant, runs=[replace(run, evaluations=run.evaluations[:1]) for run in variant.runs])
    assert held_out_plot(comparison_of(once)) is None


def test_smoothing_keeps_a_constant_and_starts_at_the_first_value():
    assert smoothed([(i, 2.0) for i in range(5)]) == [(i, pytest.approx(2.0)) for i in range(5)]
    assert smoothed([(1, 9.0), (2, 1.0)])[0] == (1, 9.0)


def test_thinning_keeps_both_ends():
    curve = [(i, float(i)) for i in range(1, 2001)]
    kept = thinned(curve)
    assert len(kept) < 400 and (kept[0], kept[-1]) == (curve[0], curve[-1])


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.871, 0.944), (2.1, 2.3), (0, 500), (0, 3), (1e-5, 2e-5)])
def test_ticks_are_few_round_and_inside(low, high):
    found = even_ticks(low, high)
    assert 2 <= len(found) <= 7 and all(low - 1e-9 <= x <= high + 1e-9 for x in found)


@pytest.mark.parametrize(("low", "high"), [(4_000, 150_000), (100, 300), (10, 1e9), (5_000, 9_000)])
def test_logarithmic_ticks_lie_inside(low, high):
    found = log_ticks(low, high)
    assert len(found) >= 2 and all(low <= x <= high for x in found)


def test_seeds_that_agree_and_variants_alike_still_make_a_plot():
    same = comparison_of(variant_of("prompt-1", [1.0, 1.0]), variant_of("prompt-2", [1.0, 1.0]))
    assert len(marks(parsed(quality_plot(same)))) == 2
