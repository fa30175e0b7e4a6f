"""`report.html` of a sweep: the best, quality against both costs, every trial, and how all of it was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgetune.config import METHODS
from edgetune.metrics import spread
from edgetune.reports.page.marks import swatch
from edgetune.reports.page.markup import Markup, element
from edgetune.reports.page.page import document, figure, section
from edgetune.reports.page.scatter import Point, bytes_told, count_told, scatter
from edgetune.reports.page.tables import listed, table
from edgetune.reports.page.wording import metric_named, quality_told, seconds_told, short_name
from edgetune.reports.sizes import sized
from edgetune.sweep.figures import Sweep, TrialFigures

MOST_NAMED = 5
"""Of a front: more names would cover each other."""


def sweep_page(sweep: Sweep, command: str) -> str:
    """The whole document; `command` exports the best."""
    count = len(sweep.trials)
    title = f"{count} configuration{'s' * (count != 1)} of {short_name(sweep.model)}"
    body = [
        element("h1", title),
        element("p", lead(sweep), class_="lead"),
        element(
            "section",
            element("h2", "Best"),
            element("p", best_told(sweep)),
            element("pre", element("code", command)),
            class_="advice",
        ),
        section("Quality against cost", plots(sweep)),
        section("Trials", trials_table(sweep)),
        section("How this was measured", measured(sweep)),
    ]
    return document(title, body, sweep.versions)


def lead(sweep: Sweep) -> str:
    seeds = len(sweep.seeds)
    return (
        f"{sweep.model_type}, {sweep.base_parameters:,} parameters, frozen; each configuration with up to "
        f"{sweep.steps:,} steps of {sweep.rows_a_step} rows, {seeds} seed{'s' * (seeds != 1)}; {ends_told(sweep)}."
    )


def quality_of(sweep: Sweep) -> str:
    return metric_named(sweep.measure.name, sweep.task)


def ends_told(sweep: Sweep) -> str:
    """`9 complete, 3 stopped early`."""
    words = {"complete": "complete", "pruned": "stopped early", "failed": "failed"}
    counts = {end: sum(trial.end == end for trial in sweep.trials) for end in words}
    return ", ".join(f"{counts[end]} {word}" for end, word in words.items() if counts[end])


def best_told(sweep: Sweep) -> str:
    """A paragraph: what is best, and what less would cost."""
    best = sweep.best
    told = quality_told(sweep.measure.name, sweep.quality(best))
    first = (
        f"{best.name}: {quality_of(sweep)} {told} with {parameters_told(best)} parameters, "
        f"{size_told(best)} on the device."
    )
    cheaper = sweep.front(lambda trial: trial.size_bytes)[:-1]
    if not cheaper:
        return first
    least = cheaper[0]
    other = quality_told(sweep.measure.name, sweep.quality(least))
    return f"{first} The smallest, {least.name}, reaches {other} in {size_told(least)}."


def plots(sweep: Sweep) -> Markup:
    by_parameters = scatter(
        "parameters", sweep.measure.name, quality_of(sweep), "parameters learned",
        points_of(sweep, lambda trial: trial.parameters), count_told, front=True,
    )  # fmt: skip
    by_bytes = scatter(
        "bytes", sweep.measure.name, quality_of(sweep), "size on the device",
        points_of(sweep, lambda trial: trial.size_bytes), bytes_told, front=True,
    )  # fmt: skip
    caption = "The line joins those that none of the same cost or less beats."
    if len(sweep.seeds) > 1:
        caption += " A mark is the mean over seeds, a dot one seed."
    return element("div", figure(by_parameters, caption), figure(by_bytes, caption), legend(sweep), class_="plots")


def points_of(sweep: Sweep, cost: Callable[[TrialFigures], int | None]) -> list[Point]:
    """The front first, the cheapest of it first."""
    front = sweep.front(cost)
    others = [trial for trial in sweep.complete if trial not in front]
    named = {trial.name for trial in (sweep.best, *spaced(front, MOST_NAMED))}
    return [
        Point(
            name=trial.name,
            method=trial.method,
            colour=METHODS.index(trial.method),
            cost=cost(trial) or 1,
            quality=sweep.quality(trial),
            values=[run.metrics[sweep.measure.name] for run in trial.runs] if len(trial.runs) > 1 else [],
            prominent=trial in front or trial is sweep.best,
            named=trial.name in named,
        )
        for trial in [*front, *others]
    ]


def spaced(trials: Sequence[TrialFigures], most: int) -> list[TrialFigures]:
    """The first, the last and those evenly between, at most so many."""
    if len(trials) <= most:
        return list(trials)
    return [trials[round(i * (len(trials) - 1) / (most - 1))] for i in range(most)]


def legend(sweep: Sweep) -> Markup:
    used = [method for method in METHODS if any(trial.method == method for trial in sweep.complete)]
    entries = [
        element("li", swatch(method, METHODS.index(method), line=False), element("span", method, class_="name"))
        for method in used
    ]
    return element("ul", *entries, class_="legend")


def trials_table(sweep: Sweep) -> Markup:
    """Ranked; the best is marked."""
    rows = []
    for trial in sweep.ranked:
        badge = element("span", "best", class_="badge") if trial is sweep.best else ""
        name = element(
            "th", element("span", trial.name, class_="name"), badge, scope="row", title=trial.described
        )  # fmt: skip
        cells = [element("td", text) for text in cells_of(sweep, trial)]
        rows.append(element("tr", name, *cells, class_="chosen" if badge else None if trial.runs else "base"))
    quality = quality_of(sweep)
    caption = f"The best {quality} first; one that was stopped early has that of its last evaluation, in brackets."
    return table(caption, ["configuration", quality, "parameters", "on the device", "one run", "end"], rows)


def cells_of(sweep: Sweep, trial: TrialFigures) -> list[str]:
    """Quality, parameters, size, seconds of a run, and how it ended; the terminal shows the same."""
    if trial.end == "complete":
        return [
            quality_told(sweep.measure.name, sweep.quality(trial)),
            parameters_told(trial),
            size_told(trial),
            seconds_told(trial.train_seconds),
            "complete",
        ]
    return [stopped_told(sweep, trial), "–", "–", "–", end_told(trial)]


def stopped_told(sweep: Sweep, trial: TrialFigures) -> str:
    """`(62.5 %)`."""
    if trial.value is None:
        return "–"
    return f"({quality_told(sweep.measure.name, spread([trial.value]))})"


def end_told(trial: TrialFigures) -> str:
    return "failed" if trial.end == "failed" else f"pruned at step {trial.step:,}"


def parameters_told(trial: TrialFigures) -> str:
    return f"{trial.parameters or 0:,}"


def size_told(trial: TrialFigures) -> str:
    return sized(trial.size_bytes or 0)


def measured(sweep: Sweep) -> Markup:
    space = {name: listed(values) for name, values in sweep.space["choices"].items()}
    space |= {name: f"{low:g} to {high:g}, by its logarithm" for name, (low, high) in sweep.space["ranges"].items()}
    tried = "; ".join(f"{name.replace('_', ' ')} {values}" for name, values in space.items())
    stopping = "none: every run was trained to its end"
    if sweep.rungs:
        stopping = (
            f"ASHA: after {listed(sweep.rungs)} steps of a configuration's first seed, about one in "
            f"{sweep.reduction_factor} of those that got there goes on"
        )
    failed = [f"{trial.name}: {trial.why}" for trial in sweep.trials if trial.end == "failed"]
    facts = {
        "Base": sweep.model,
        "Training rows": f"{sweep.data}, " + ("a stream" if sweep.rows is None else f"{sweep.rows:,} rows"),
        "Quality": f"{sweep.eval_data}, {sweep.eval_rows:,} rows, in torch, at the step that each run kept by them",
        "Tried": tried,
        "Search": f"{sweep.search}, seeds {listed(sweep.seeds)}",
        "Early stopping": stopping,
        "Engine": f"{sweep.engine}; {seconds_told(sweep.elapsed_seconds)}",
        **({"Failed": "; ".join(failed)} if failed else {}),
        "Machine": sweep.machine,
        "Versions": listed([f"{name} {version}" for name, version in sweep.versions.items()]),
    }
    return element("dl", *(part for name, fact in facts.items() for part in (element("dt", name), element("dd", fact))))
