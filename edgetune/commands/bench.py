"""`edgetune bench`: how fast a bundle is on this machine."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from edgetune.bench.figures import Plan

PLAN = Plan()


class Counts(click.ParamType):
    """Whole numbers with commas between them."""

    name = "N,N,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            counts = tuple(sorted({int(part) for part in value.split(",")}))
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers, e.g. 16,128", param, ctx)
        if counts[0] < 1:
            self.fail(f"{value!r} holds a number below 1", param, ctx)
        return counts


@click.command()
@click.argument("bundle")
@click.option("--adapter", help="Which task.  [default: the bundle's first]")
@click.option("--base", "bare", is_flag=True, help="The base alone, without an adapter; generators.")
@click.option("--tokens", type=Counts(), default=PLAN.lengths, help="Lengths of the text.  [default: 16,128,512]")
@click.option(
    "--rows", type=Counts(), default=PLAN.rows, help="Texts at once, of the shortest length.  [default: 1,4,8]"
)
@click.option("--new-tokens", type=click.IntRange(2), default=PLAN.new_tokens, show_default=True, help="Generators.")
@click.option("--greedy", is_flag=True, help="Take the likeliest token instead of drawing one.")
@click.option("--rounds", type=click.IntRange(1), default=PLAN.rounds, show_default=True, help="The median counts.")
@click.option("--threads", type=click.IntRange(1), help="Threads of ONNX Runtime.")
@click.option("--spin/--no-spin", default=True, show_default=True, help="Waiting threads spin before they sleep.")
@click.option("--arena/--no-arena", default=True, show_default=True, help="Keep memory between runs.")
@click.option("--profile", metavar="PATH", help="Write ONNX Runtime's profiles to files that begin with PATH.")
@click.option("--plot", metavar="FILE.svg", help="Draw speed against the length of the text.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    bundle: str, adapter: str | None, bare: bool, tokens: tuple[int, ...], rows: tuple[int, ...], new_tokens: int,
    greedy: bool, rounds: int, plot: str | None, as_json: bool, **resources: Any,
) -> None:  # fmt: skip
    """Measure BUNDLE on this machine: first token, tokens per second, memory, switching adapters."""
    from edgetune.bench.measuring import bench
    from edgetune.output import write_atomic
    from edgetune.reports.bench import told, watched
    from edgetune.reports.page.bench_plot import bench_plot

    if adapter and bare:
        raise click.UsageError("--adapter and --base exclude each other")
    plan = Plan(tokens, rows, new_tokens, rounds, not greedy)
    with watched() as tell:
        found = bench(bundle, plan, adapter=adapter, bare=bare, tell=tell, **resources)
    if plot:
        write_atomic(plot, bench_plot(found))
    click.echo(json.dumps(dataclasses.asdict(found), indent=2) if as_json else told(found))
