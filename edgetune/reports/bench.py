"""A bench as it goes, and its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from edgetune.bench.figures import Bench, Point
from edgetune.reports.sizes import sized


@contextmanager
def watched() -> Iterator[Callable[[str], None]]:
    """A function that says what is measured now, on a terminal."""
    console = Console(stderr=True)
    with console.status("") as status:
        yield lambda what: status.update(f"measuring: {what}")


def told(found: Bench) -> str:
    adapter = f"adapter {found.adapter}" if found.adapter else "no adapter"
    facts = [
        ("", f"{found.bundle} ({found.kind}, {found.task}, {adapter}, {threads_told(found.threads)})"),
        ("size", f"{sized(found.size_bytes)}, {sized(found.weight_bytes)} of them graph and weights"),
        ("load", f"{found.load_ms:.0f} ms, first answer {found.first_answer_ms:.0f} ms later"),
        ("memory", f"{sized(found.resident_bytes)} resident after all answers"),
        ("bandwidth", f"{found.bandwidth_gb_s:.1f} GB/s read by all cores"),
    ]
    if found.switch_us is not None:
        facts.append(("switch", f"{found.switch_us:.0f} µs from one adapter to another"))
    lines = [f"{name:<10} {value}".rstrip() if name else value for name, value in facts]
    return "\n".join([*lines, "", *table(found)])


def threads_told(threads: int | None) -> str:
    return "a thread per core" if threads is None else f"{threads} thread{'s' * (threads > 1)}"


def table(found: Bench) -> list[str]:
    if found.task != "generate":
        lines = [f"{'texts':>5} {'tokens':>6} {'ms':>8} {'texts/s':>8}"]
        return lines + [
            f"{p.rows:>5} {p.tokens:>6} {p.answer_ms:>8.2f} {p.texts_per_second:>8.0f}" for p in found.points
        ]
    lines = [f"{'texts':>5} {'tokens':>6} {'first token ms':>14} {'tokens/s':>8}  of bandwidth ÷ weights"]
    return lines + [of_generator(found, point) for point in found.points]


def of_generator(found: Bench, point: Point) -> str:
    fraction = found.fraction(point)
    share = "" if fraction is None else f"{fraction:.2f}"
    return (
        f"{point.rows:>5} {point.tokens:>6} {point.answer_ms:>14.1f} {point.tokens_per_second:>8.0f}  {share}".rstrip()
    )
