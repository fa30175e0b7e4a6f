"""Quality against parameters: a mark a variant, its seeds as dots, its spread as a bar."""

from __future__ import annotations

from edgetune.comparison.figures import Comparison
from edgetune.reports.page.markup import Markup
from edgetune.reports.page.scatter import Point, count_told, scatter
from edgetune.reports.page.wording import quality_name


def quality_plot(comparison: Comparison) -> Markup:
    """Parameters on a logarithmic scale; means joined to the least and the most of their seeds."""
    metric, quality = comparison.measure.name, quality_name(comparison)
    return scatter("quality", metric, quality, "parameters learned", points_of(comparison), count_told)


def points_of(comparison: Comparison) -> list[Point]:
    metric = comparison.measure.name
    return [
        Point(
            name=variant.name,
            method=variant.method,
            colour=i,
            cost=variant.parameters,
            quality=comparison.quality(variant),
            values=[run.metrics[metric] for run in variant.runs],
        )
        for i, variant in enumerate(comparison.variants)
    ]
