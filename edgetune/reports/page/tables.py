"""The page's tables: the figures, each seed, and the dimensions of the methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgetune.comparison.figures import Comparison, VariantFigures
from edgetune.metrics import spread
from edgetune.reports.page.dimensions import DIMENSIONS
from edgetune.reports.page.marks import swatch
from edgetune.reports.page.markup import Markup, element, together
from edgetune.reports.page.wording import QUALITIES, ms_told, quality_name, quality_told, seconds_told, share_told
from edgetune.reports.sizes import sized

SECOND = {"macro_f1": "macro-F1", "spearman": "Spearman", "accuracy": "tag accuracy"}
"""Of a task that reads, the metric beside its quality: the first of these that it has."""


@dataclass(frozen=True)
class Column:
    """One figure: how it is written, and what it costs where the least is the best (None: nothing to win)."""

    title: str
    told: Callable[[VariantFigures], str]
    cost: Callable[[VariantFigures], float] | None = None


def columns_of(comparison: Comparison) -> list[Column]:
    measure, task = comparison.measure, comparison.task
    sign = -1 if measure.higher_is_better else 1
    found = [
        # first, so that a phone shows it without scrolling
        Column(
            quality_name(comparison),
            lambda v: quality_told(measure.name, comparison.quality(v)),
            lambda v: sign * comparison.quality(v).mean,
        ),
        Column("parameters", lambda v: f"{v.parameters:,}", lambda v: v.parameters),
        Column("of the model", lambda v: share_told(comparison.share(v))),
        Column("on the device", lambda v: sized(v.size_bytes), lambda v: v.size_bytes),
    ]
    if task == "generate":
        found += [
            Column("perplexity", lambda v: f"{v.over_seeds('perplexity').mean:.2f}"),
            Column("first token", lambda v: ms_told(v.latency.first_ms), lambda v: v.latency.first_ms),
            Column("per token", lambda v: ms_told(v.latency.per_token_ms), lambda v: v.latency.per_token_ms or 0.0),
        ]
    else:
        other = next(name for name in SECOND if name in comparison.variants[0].runs[0].metrics)
        found += [
            Column(SECOND[other], lambda v: second_told(v, other)),
            Column("per text", lambda v: ms_told(v.latency.first_ms), lambda v: v.latency.first_ms),
        ]
    return [*found, Column("training", lambda v: seconds_told(v.train_seconds), lambda v: v.train_seconds)]


def second_told(variant: VariantFigures, metric: str) -> str:
    value = variant.over_seeds(metric).mean
    return f"{value:.3f}" if metric == "spearman" else f"{value * 100:.1f} %"


def figures_table(comparison: Comparison, recommended: str) -> Markup:
    """A row a variant; the best of a column is bold where they differ."""
    columns = columns_of(comparison)
    best = {column.title: best_of(column, comparison.variants) for column in columns}
    rows = []
    for i, variant in enumerate(comparison.variants):
        cells = []
        for column in columns:
            text = column.told(variant)
            cells.append(element("td", element("strong", text) if variant.name in best[column.title] else text))
        badge = element("span", "recommended", class_="badge") if variant.name == recommended else ""
        name = element(
            "th", swatch(variant.method, i), element("span", variant.name, class_="name"), badge, scope="row",
            title=variant.described,
        )  # fmt: skip
        rows.append(element("tr", name, *cells, class_="chosen" if badge else None))
    if comparison.base:
        rows.append(base_row(comparison, columns))
    caption = f"Means over seeds {listed(comparison.seeds)}, ± their standard deviation; the best of a column is bold."
    if len(comparison.seeds) == 1:
        caption = f"One seed, {comparison.seeds[0]}; the best of a column is bold."
    return table(caption, ["variant", *(column.title for column in columns)], rows)


def best_of(column: Column, variants: Sequence[VariantFigures]) -> set[str]:
    """Names of those whose figure reads like the least; none where all read alike."""
    if column.cost is None:
        return set()
    winner = column.told(min(variants, key=column.cost))
    names = {variant.name for variant in variants if column.told(variant) == winner}
    return names if len(names) < len(variants) else set()


def base_row(comparison: Comparison, columns: Sequence[Column]) -> Markup:
    base = comparison.base
    assert base is not None
    known = {
        QUALITIES["loss"]: f"{base.metrics['loss']:.3f}",
        "perplexity": f"{base.metrics['perplexity']:.2f}",
        "first token": ms_told(base.latency.first_ms),
        "per token": ms_told(base.latency.per_token_ms),
    }
    cells = [element("td", known.get(column.title, "–")) for column in columns]
    name = element("span", "the base alone", class_="name")
    return element("tr", element("th", name, scope="row"), *cells, class_="base")


def seeds_table(comparison: Comparison) -> Markup:
    other = "perplexity" if comparison.task == "generate" else "accuracy" if comparison.task == "tag" else "loss"
    rows = [
        element(
            "tr",
            element("th", element("span", variant.name, class_="name"), scope="row"),
            element("td", f"{run.seed}{' (kept)' if run.seed == variant.best_seed else ''}"),
            element("td", quality_told(comparison.measure.name, spread([run.metrics[comparison.measure.name]]))),
            element("td", f"{run.metrics[other]:.3f}"),
            element("td", str(run.kept_step)),
            element("td", seconds_told(run.train_seconds)),
            element("td", f"{run.samples_per_second:,.0f}"),
        )
        for variant in comparison.variants
        for run in variant.runs
    ]
    heads = ["variant", "seed", quality_name(comparison), other, "best step", "training", "rows/s"]
    return table("Every run, measured in the exported bundle; the kept seed's adapter is in it.", heads, rows)


def dimensions_table() -> Markup:
    heads = ("dimension", "prompt tuning", "prefix tuning")
    rows = [
        element(
            "tr",
            element("th", name, scope="row", role="rowheader"),
            *(element("td", text, role="cell", data_label=head) for head, text in zip(heads[1:], texts)),
            role="row",
        )
        for name, *texts in DIMENSIONS
    ]
    return table("What the two methods are.", heads, rows, "words", roles=True)


def table(
    caption: str, heads: Sequence[str], rows: Sequence[Markup], kind: str = "numbers", *, roles: bool = False
) -> Markup:
    """In a region that scrolls by itself where it is wider than the screen.

    `roles` says again what each part is, for a table that a phone shows as a list: with its looks it loses its meaning.
    """

    def role(name: str) -> str | None:
        return name if roles else None

    cells = [element("th", head, scope="col", role=role("columnheader")) for head in heads]
    top = element("thead", element("tr", *cells, role=role("row")), role=role("rowgroup"))
    body = element("tbody", *rows, role=role("rowgroup"))
    whole = element("table", top, body, class_=kind, role=role("table"), aria_label=caption)
    scrolled = element("div", whole, class_="wide", tabindex="0", role="region", aria_label=caption)
    # no <caption>: it would be as wide as the table and scroll away with it
    return together([element("p", caption, class_="note"), scrolled])


def listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))
