"""`edgetune evaluate`: metrics of an adapter on its torch base, or of the bundle that ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgetune.commands.launched import processes_together, refuse_alone
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
    if bundle is not None:
        from edgetune.evaluation.bundle import evaluate_bundle

        refuse_alone("evaluate --bundle")
        found = {
            name: evaluate_bundle(bundle, data, adapter, columns_named, write, ensemble) for name, data in files.items()
        }
    else:
        assert adapter is not None
        with processes_together() as processes:
            found = measured_together(processes, adapter, model, files, columns_named)
        if not processes.is_main:
            return
    tell(found, as_json)


def measured_together(
    processes: Any, adapter: str, model: str | None, files: dict[str, str], columns: dict[str, str]
) -> dict[str, dict[str, float]]:
    """The metrics of each set, of an adapter on its torch base."""
    from edgetune.adapter import load_adapter
    from edgetune.evaluation.adapter import evaluate_adapter
    from edgetune.models.base import load_base
    from edgetune.models.rounding import FLOAT
    from edgetune.training.launcher import refuse_engines, warn_of_precision
    from edgetune.training.sharding import sharded_base

    refuse_engines()
    warn_of_precision()
    loaded = load_adapter(adapter)
    name = model or loaded.base_name
    if processes.sharding:
        base = sharded_base(name, loaded.purpose, FLOAT, processes)
    else:
        base = load_base(name, loaded.purpose)
    return {name: evaluate_adapter(base, loaded, data, columns, processes) for name, data in files.items()}


def tell(found: dict[str, dict[str, float]], as_json: bool) -> None:
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
