"""`edgetune evaluate`: metrics of an adapter on its torch base, or of the bundle that ships."""

from __future__ import annotations

import json

import click

from edgetune.commands.options import named_columns


@click.command()
@click.option("--data", required=True, help="Rows to measure on: JSONL, CSV, TSV or Parquet.")
@click.option("--bundle", help="A bundle; the runtime answers.")
@click.option("--model", help="Base model of --adapter; by default the one it was tuned on.")
@click.option("--adapter", help="An adapter's folder, or with --bundle the name of one in it.")
@click.option("--ensemble", help="Bundle: several of its adapters together, the name of an ensemble in it or A,B,C.")
@click.option(
    "--columns", multiple=True, metavar="FIELD=COLUMN", help="Names of the file's columns, e.g. label=category."
)
@click.option(
    "--write", type=click.IntRange(0), default=0, help="Bundle of a generator: prompts to complete for BLEU and ROUGE."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    data: str,
    bundle: str | None,
    model: str | None,
    adapter: str | None,
    ensemble: str | None,
    columns: tuple[str, ...],
    write: int,
    as_json: bool,
) -> None:
    """Measure an adapter on its torch base, or the very bundle that ships."""
    if bundle is None and adapter is None:
        raise click.UsageError("give --bundle BUNDLE, or --adapter FOLDER")
    if bundle is not None and model is not None:
        raise click.UsageError("--bundle brings its own base; leave --model out")
    if ensemble and (bundle is None or adapter is not None):
        raise click.UsageError(
            "--ensemble is of a bundle, and in place of --adapter: give --bundle and leave --adapter out"
        )
    if write and bundle is None:
        raise click.UsageError("--write measures what the runtime writes: give --bundle")
    named = named_columns(columns)
    if bundle is not None:
        from edgetune.evaluation.bundle import evaluate_bundle

        metrics = evaluate_bundle(bundle, data, adapter, named, write, ensemble)
    else:
        from edgetune.adapter import load_adapter
        from edgetune.evaluation.adapter import evaluate_adapter
        from edgetune.models.base import load_base

        assert adapter is not None
        loaded = load_adapter(adapter)
        metrics = evaluate_adapter(load_base(model or loaded.base_name, loaded.task), loaded, data, named)
    if as_json:
        click.echo(json.dumps(metrics))
    else:
        for name, value in metrics.items():
            click.echo(f"{name:<16} {value:,.0f}" if name in ("rows", "written") else f"{name:<16} {value:,.4f}")
