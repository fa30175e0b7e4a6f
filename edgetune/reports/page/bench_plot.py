"""Speed against the length of the text, as an SVG that stands alone."""

from __future__ import annotations

from edgetune.bench.figures import Bench
from edgetune.reports.page.axes import across, drawing, frame, upwards
from edgetune.reports.page.marks import SIZE
from edgetune.reports.page.markup import Markup, element

STYLE = """text{font:13px system-ui,sans-serif;fill:#55606e}.middle{text-anchor:middle}.end{text-anchor:end}
.grid{stroke:#d9dfe6}.axis,.mark{stroke:#55606e}.curve{fill:none;stroke:#0b63c4;stroke-width:2.4}
.mean{fill:#0b63c4;stroke:#fff;stroke-width:1.5}.page{fill:#fff}
@media (prefers-color-scheme:dark){text{fill:#a3afbd}.grid{stroke:#323c49}.axis,.mark{stroke:#a3afbd}
.curve{stroke:#6cb2ff}.mean{fill:#6cb2ff;stroke:#11161d}.page{fill:#11161d}}"""


def bench_plot(found: Bench) -> Markup:
    """Tokens per second of a generator, milliseconds of what reads, one text at a time."""
    generates = found.task == "generate"
    alone = [point for point in found.points if point.rows == 1]
    values = [(p.tokens, (p.tokens_per_second or 0.0) if generates else p.answer_ms) for p in alone]
    x = across(0, 1.06 * max(tokens for tokens, _ in values))
    y = upwards(0, 1.15 * max(value for _, value in values))
    up = "tokens per second" if generates else "milliseconds"
    parts = frame(x, y, "tokens of the text", up, "{:g}".format, "{:g}".format)
    places = [(x.at(tokens), y.at(value)) for tokens, value in values]
    parts.append(element("polyline", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in places), class_="curve"))
    parts += [element("circle", cx=a, cy=b, r=SIZE, class_="mean") for a, b in places]
    told = "; ".join(f"{tokens} tokens: {value:.1f}" for tokens, value in values)
    behind = [element("style", Markup(STYLE)), element("rect", width="100%", height="100%", class_="page")]
    return drawing("bench", f"{up.capitalize()} by the length of the text", told, [*behind, *parts])
