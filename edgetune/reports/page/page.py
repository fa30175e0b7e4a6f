"""`report.html`: what was compared, what to take, the figures, the plots, and how all of it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgetune.comparison.choice import Choice
from edgetune.comparison.figures import Comparison
from edgetune.reports.page.dimensions import LETTERS, PAPERS
from edgetune.reports.page.loss_plot import held_out_plot, training_plot
from edgetune.reports.page.marks import swatch
from edgetune.reports.page.markup import Markup, element, together
from edgetune.reports.page.paragraph import recommendation
from edgetune.reports.page.quality_plot import quality_plot
from edgetune.reports.page.style import STYLE
from edgetune.reports.page.tables import dimensions_table, figures_table, listed, seeds_table
from edgetune.reports.page.wording import sampling_error, short_name
from edgetune.reports.sizes import sized


def page(comparison: Comparison, choice: Choice) -> str:
    """The whole document."""
    count = len(comparison.variants)
    title = f"{count} way{'s' * (count != 1)} to tune {short_name(comparison.model)}"
    body = [
        element("h1", title),
        element("p", lead(comparison), class_="lead"),
        element(
            "section",
            element("h2", "Recommendation"),
            element("p", recommendation(comparison, choice)),
            class_="advice",
        ),
        section("Figures", figures_table(comparison, choice.name)),
        section("Plots", plots(comparison)),
        section(
            "Prompt tuning and prefix tuning", dimensions_table(), element("p", f"{LETTERS} {PAPERS}", class_="note")
        ),
        section("How this was measured", measured(comparison), runs(comparison)),
        section("What lies beside this page", beside(choice)),
    ]
    return document(title, body, comparison.versions)


def document(title: str, body: Sequence[Markup], versions: Mapping[str, str]) -> str:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width,initial-scale=1"),
        element("meta", name="generator", content=f"edgetune {versions.get('edgetune', '')}".strip()),
        element("title", title),
        element("style", Markup(STYLE)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', element('main', *body)), lang='en')}\n"


def section(title: str, *content: Markup) -> Markup:
    return element("section", element("h2", title), *content)


def lead(comparison: Comparison) -> str:
    kinds = {
        "classify": f"{comparison.labels} labels",
        "tag": f"{comparison.labels} tags",
        "regress": "a number a text",
    }
    kind = kinds.get(comparison.task, "generation")
    seeds = len(comparison.seeds)
    return (
        f"{comparison.model_type}, {comparison.base_parameters:,} parameters, frozen; {kind}; each variant with "
        f"{comparison.steps:,} steps of {comparison.rows_a_step} rows, {seeds} seed{'s' * (seeds != 1)}."
    )


def legend(comparison: Comparison) -> Markup:
    entries = [
        element("li", swatch(variant.method, i), element("span", variant.described, class_="name"))
        for i, variant in enumerate(comparison.variants)
    ]
    return element("ul", *entries, class_="legend")


def plots(comparison: Comparison) -> Markup:
    held_out = held_out_plot(comparison)
    figures = [
        figure(quality_plot(comparison), "A large mark is the mean over seeds, a dot one seed."),
        legend(comparison),
        figure(training_plot(comparison), "Smoothed over about ten steps; faint lines are single seeds."),
        *([figure(held_out, "On the held-out rows while training.")] if held_out else []),
    ]
    return element("div", *figures, class_="plots")


def figure(drawn: Markup, caption: str) -> Markup:
    return element("figure", drawn, element("figcaption", caption))


def measured(comparison: Comparison) -> Markup:
    quality = f"{comparison.eval_data}, {comparison.eval_rows:,} rows, answered by the exported bundle"
    if comparison.task == "classify":
        best = max(comparison.quality(variant).mean for variant in comparison.variants)
        error = sampling_error(comparison, best) * 100
        quality += f". So many rows leave a standard error of {error:.1f} points, which the spread does not show"
    quality += ". The same rows chose each run's best step, in all variants alike."
    calls = comparison.variants[0].latency.calls
    rates = ", ".join(f"{variant.name} {variant.learning_rate:g}" for variant in comparison.variants)
    facts = {
        "Base": f"{comparison.model}, whole bundle {sized(comparison.bundle_bytes)}",
        "Training rows": f"{comparison.data}, {comparison.rows:,} rows",
        "Quality": quality,
        "Budget": f"{comparison.steps:,} steps of {comparison.rows_a_step} rows, seeds {listed(comparison.seeds)}",
        "Learning rates": rates,
        "Parameters": parameters_told(comparison),
        "Latency": f"Medians of {calls} texts, one at a time, the adapters in turn, in ONNX Runtime on this machine",
        "Training time": "Mean of one run, evaluations included; rows/s leaves them out",
        "Machine": comparison.machine,
        "Versions": listed([f"{name} {version}" for name, version in comparison.versions.items()]),
    }
    return element("dl", *(part for name, fact in facts.items() for part in (element("dt", name), element("dd", fact))))


def parameters_told(comparison: Comparison) -> str:
    told = "All that is learned and kept; a network that a run tuned through is folded away"
    heads = {variant.head_parameters for variant in comparison.variants} - {0}
    if not heads:
        return told
    return f"{told}. The classifier's head is {' or '.join(f'{head:,}' for head in sorted(heads))} of them"


def runs(comparison: Comparison) -> Markup:
    return element("details", element("summary", "Every run"), seeds_table(comparison))


def beside(choice: Choice) -> Markup:
    commands = f'edgetune run bundle "a text" --adapter {choice.name}\nedgetune inspect adapters/{choice.name}'
    return together([
        element(
            "p",
            "The bundle holds the base once and the best seed's adapter of each variant; adapters/ holds the same ones "
            "for edgetune export; comparison.json holds every figure of this page.",
        ),
        element("pre", element("code", commands)),
    ])  # fmt: skip
