"""`edgetune export`: a base and its adapters become a verified bundle."""

from __future__ import annotations

import click

from edgetune.commands.options import named_columns
from edgetune.config import ACCURACY_LEVEL, BLOCK_SIZE, BLOCK_SIZES, WEIGHTS, WHOLE


@click.command()
@click.option("--model", required=True, help="Base model: a hub id or a local folder.")
@click.option(
    "--adapter", "adapters", multiple=True, metavar="[NAME=]FOLDER", help="An adapter; several share one base."
)
@click.option(
    "--ensemble", "ensembles", multiple=True, metavar="NAME=A,B,C", help="Adapters of one task that answer together."
)
@click.option(
    "--combine", type=click.Choice(["average", "vote"]), help="How classifiers of an ensemble do.  [default: average]"
)
@click.option("--out", required=True, help="Folder for the bundle.")
@click.option("--standalone", is_flag=True, help="Fold one adapter into the graph: a drop-in for an ordinary export.")
@click.option(
    "--format",
    "form",
    default="onnx",
    show_default=True,
    type=click.Choice(["onnx", "ort"]),
    help="Of the graph: ort is ONNX Runtime's own, with the operators that a minimal build needs.",
)
@click.option("--onnx-adapters", is_flag=True, help="Also write what onnxruntime's LoraAdapter API takes.")
@click.option("--precision", default="fp32", show_default=True, help=f"Of the weights: {', '.join(WEIGHTS)}.")
@click.option(
    "--block-size",
    default=BLOCK_SIZE,
    show_default=True,
    help=f"Weights that share a scale: {', '.join(map(str, BLOCK_SIZES))}; int8 in browsers: {WHOLE}, whole columns.",
)
@click.option("--asymmetric", is_flag=True, help="Give blocks zero points: a little larger, sometimes better.")
@click.option(
    "--accuracy-level",
    default=ACCURACY_LEVEL,
    show_default=True,
    help="Of products in int8 and int4: 4 takes activations in int8, 1 in float32.",
)
@click.option("--keep", "keeps", multiple=True, metavar="NAME=PRECISION", help="Exceptions, e.g. lm_head*=fp32.")
@click.option("--recover", type=click.IntRange(1), help="Tune adapters this many steps more on the rounded weights.")
@click.option("--eval-data", help="Rows on which the bundle is measured beside the torch model in fp32.")
@click.option("--columns", multiple=True, metavar="FIELD=COLUMN", help="Names of that file's columns.")
@click.option("--task", help="Without adapters: what the base is for, classify, tag, regress or generate.")
@click.option(
    "--head", type=click.Choice(["linear", "words"]), help="Without adapters: words, for those of label words."
)
@click.option("--force", is_flag=True, help="Replace a bundle that is already there.")
def command(
    model: str, adapters: tuple[str, ...], ensembles: tuple[str, ...], combine: str | None, out: str, standalone: bool,
    form: str, onnx_adapters: bool, precision: str, block_size: int, asymmetric: bool, accuracy_level: int,
    keeps: tuple[str, ...],
    recover: int | None, eval_data: str | None, columns: tuple[str, ...], task: str | None, head: str | None,
    force: bool,
) -> None:  # fmt: skip
    """Write a bundle for the device and verify it against torch."""
    from edgetune_export.bundle import export_bundle
    from edgetune_export.ensembles import named_ensembles
    from edgetune_export.quality import qualities, torch_metrics
    from edgetune_export.task import purpose_of

    from edgetune.adapter import load_adapter
    from edgetune.models.base import WORDS, load_base, task_named
    from edgetune.models.rounding import Weights, named_keeps
    from edgetune.reports.export import export_report, named_adapters
    from edgetune.training.recovery import recovered

    if eval_data and not adapters:
        raise click.UsageError("--eval-data measures adapters: give --adapter")
    weights = Weights(precision, block_size, not asymmetric, accuracy_level, named_keeps(keeps))  # type: ignore[arg-type]
    if recover and not weights.rounds:
        raise click.UsageError("--recover makes up for rounded weights: give --precision int4, int8 or fp16")
    teams, folders = named_ensembles(ensembles, combine), named_adapters(adapters)
    loaded = {name: load_adapter(folder) for name, folder in folders.items()}
    asked = WORDS if head == WORDS else task_named(task) if task else None
    base = load_base(model, purpose_of(model, list(loaded.values()), asked))
    with export_report() as report:
        shipped = loaded
        if recover:
            report.stage("recovering")
            shipped = {name: recovered(base, x, folders[name], weights, recover) for name, x in loaded.items()}
        metrics, names = {}, named_columns(columns)
        if eval_data:
            report.stage("measuring")
            metrics = torch_metrics(base, loaded, eval_data, names)
        result = export_bundle(
            base, shipped, out, standalone=standalone, weights=weights, force=force, ensembles=teams, task=asked,
            ort=form == "ort", onnx_adapters=onnx_adapters, spend=True, tell=report.stage,
        )  # fmt: skip
        if metrics:
            report.stage("measuring")
        measured = qualities(metrics, out, str(eval_data), names)
    report.finish(result, base, measured)
