"""The plot of `peers.py`: a bar for each engine, prompt and steps side by side."""

from __future__ import annotations

from dataclasses import dataclass

from edgetune.reports.page.markup import Markup, element

ROW, NAME, BAR, GAP = 26, 210, 230, 70
STYLE = """text{font:13px system-ui,sans-serif;fill:#16202c}.end{text-anchor:end}.soft{fill:#55606e}
.theirs{fill:#b3c0d1}.ours{fill:#0b63c4}.page{fill:#fff}
@media (prefers-color-scheme:dark){text{fill:#e8edf3}.soft{fill:#a3afbd}.theirs{fill:#55606e}.ours{fill:#6cb2ff}
.page{fill:#11161d}}"""


@dataclass(frozen=True)
class Bar:
    """Tokens per second of one engine's prompt and steps."""

    name: str
    is_ours: bool
    prompt: float
    step: float


def bar_plot(bars: list[Bar], prompt: int) -> Markup:
    """Each half has a scale of its own."""
    height, width = ROW * (len(bars) + 2), NAME + 2 * (BAR + GAP)
    most = max(bar.prompt for bar in bars), max(bar.step for bar in bars)
    parts = [element("style", Markup(STYLE)), element("rect", width="100%", height="100%", class_="page")]
    for half, title in enumerate((f"prompt of {prompt}, tokens per second", "steps, tokens per second")):
        parts.append(element("text", title, x=NAME + half * (BAR + GAP), y=18, class_="soft"))
    for row, bar in enumerate(bars):
        y, kind = ROW * (row + 1), "ours" if bar.is_ours else "theirs"
        parts.append(element("text", bar.name, x=NAME - 10, y=y + 15, class_="end"))
        for half, (value, longest) in enumerate(zip((bar.prompt, bar.step), most)):
            x, length = NAME + half * (BAR + GAP), BAR * value / longest
            parts.append(element("rect", x=x, y=y + 3, width=length, height=ROW - 8, class_=kind))
            parts.append(element("text", f"{value:.0f}", x=x + length + 6, y=y + 15))
    told = "; ".join(f"{bar.name}: {bar.prompt:.0f} and {bar.step:.0f}" for bar in bars)
    head = element("title", "Generation beside its peers"), element("desc", told)
    view = {"viewBox": f"0 0 {width} {height}", "xmlns": "http://www.w3.org/2000/svg", "role": "img"}
    return element("svg", *head, *parts, **view)
