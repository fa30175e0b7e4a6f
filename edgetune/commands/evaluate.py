"""`edgetune evaluate`: metrics of an adapter on its torch base, or of the bundle that ships."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from edgetune.commands.options import named_columns


@click.command()
@click.option(
    "--data",
    "sets",
    required=True,
    multiple=True,
    metavar="[NAME=]FILE",
    help="Rows to measure on: JSONL, CSV, TSV or Parquet; repeat for several sets, e.g. matched=FILE.",
)
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
    sets: tuple[str, ...],
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
    columns_named, files = named_columns(columns), named_files(sets)
    measured: Callable[[str], dict[str, float]]
    if bundle is not None:
        from edgetune.evaluation.bundle import evaluate_bundle

        measured = lambda data: evaluate_bundle(bundle, data, adapter, columns_named, write, ensemble)  # noqa: E731
    else:
        from edgetune.adapter import load_adapter
        from edgetune.evaluation.adapter import evaluate_adapter
        from edgetune.models.base import load_base

        assert adapter is not None
        loaded = load_adapter(adapter)
        base = load_base(model or loaded.base_name, loaded.purpose)
        measured = lambda data: evaluate_adapter(base, loaded, data, columns_named)  # noqa: E731
    found = {name: measured(data) for name, data in files.items()}
    if as_json:
        click.echo(json.dumps(found if len(found) > 1 else next(iter(found.values()))))
        return
    for set_name, metrics in found.items():
        if len(found) > 1:
            click.echo(f"{set_name}:")
        for name, value in metrics.items():
            click.echo(f"{name:<16} {value:,.0f}" if name in ("rows", "written") else f"{name:<16} {value:,.4f}")


def named_files(given: tuple[str, ...]) -> dict[str, str]:
    """`NAME=FILE`, or a file that gives its own name → name to file, in the order given."""
    found: dict[str, str] = {}
    for text in given:
        name, separator, file = text.partition("=")
        if not separator or Path(text).exists():
            name, file = Path(text).stem, text
        if name in found:
            raise click.BadParameter(f"two sets are named {name!r}; name them with NAME=FILE", param_hint="--data")
        found[name] = file
    return found
