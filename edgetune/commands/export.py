"""`edgetune export`: a base and its adapters become a verified bundle."""

from __future__ import annotations

import click


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
@click.option("--precision", default="fp32", show_default=True, help="fp32.")
@click.option("--task", help="Without adapters: what the base is for, classify, tag, regress or generate.")
@click.option(
    "--head", type=click.Choice(["linear", "words"]), help="Without adapters: words, for those of label words."
)
@click.option("--force", is_flag=True, help="Replace a bundle that is already there.")
def command(
    model: str, adapters: tuple[str, ...], ensembles: tuple[str, ...], combine: str | None, out: str, standalone: bool,
    precision: str, task: str | None, head: str | None, force: bool,
) -> None:  # fmt: skip
    """Write a bundle for the device and verify it against torch."""
    from edgetune_export.bundle import export_bundle
    from edgetune_export.ensembles import named_ensembles
    from edgetune_export.task import purpose_of

    from edgetune.adapter import load_adapter
    from edgetune.models.base import WORDS, load_base, task_named
    from edgetune.reports.export import export_report, named_adapters

    teams = named_ensembles(ensembles, combine)
    loaded = {name: load_adapter(folder) for name, folder in named_adapters(adapters).items()}
    asked = WORDS if head == WORDS else task_named(task) if task else None
    base = load_base(model, purpose_of(model, list(loaded.values()), asked))
    with export_report() as report:
        result = export_bundle(
            base, loaded, out, standalone=standalone, precision=precision, force=force, ensembles=teams,
            task=asked, tell=report.stage,
        )  # fmt: skip
    report.finish(result, base)
