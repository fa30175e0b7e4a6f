"""`edgetune compare`: prompts and prefixes side by side on the user's own rows and base."""

from __future__ import annotations

from typing import Any

import click

from edgetune.commands.configured import configured
from edgetune.commands.options import config_options


@click.command()
@config_options(
    "task", "method", "virtual_tokens", "prompt_position", "prefix_layers", "prefix_lengths", "prefix_share", "init",
    "init_adapter", "reparameterise", "eval_every", "seed", "save_every", "tensorboard",
)  # fmt: skip
@click.option(
    "--task", help="classify, tag, regress or generate; the ecosystem's names (text-classification …) work too."
)
@click.option("--methods", metavar="A,B", help="Methods to compare.  [default: all]")
@click.option("--lengths", metavar="P,Q", help="Virtual tokens to try with each.  [default: as train]")
@click.option("--inits", metavar="A,B", help="Starts to try with each.  [default: as train]")
@click.option("--reparameterise", metavar="A,B", help="Networks to tune through, e.g. none,mlp.  [default: as train]")
@click.option(
    "--variants",
    multiple=True,
    metavar="METHOD[,OPTION=VALUE…]",
    help="One variant whole, instead of the lists; repeat for more: prefix,virtual_tokens=10,learning_rate=0.02",
)
@click.option("--eval-every", type=int, help="Steps between evaluations.  [default: a fifth of the steps]")
@click.option("--seeds", type=int, help="Runs of each variant.  [default: 3]")
@click.option("--out", required=True, help="Folder for the page, the figures, the adapters and the bundle.")
@click.option("--config", "config_path", help="A TOML file with options of a run; the command line wins.")
@click.option("--force", is_flag=True, help="Replace an earlier comparison, and an unfinished one.")
@click.option("--resume", is_flag=True, help="Continue a comparison that was killed or stopped.")
def command(
    methods: str | None,
    lengths: str | None,
    inits: str | None,
    reparameterise: str | None,
    variants: tuple[str, ...],
    seeds: int | None,
    out: str,
    config_path: str | None,
    force: bool,
    resume: bool,
    **given: Any,
) -> None:
    """Compare prompts and prefixes with one budget: parameters, bytes, quality, latency; then recommend one."""
    from edgetune_export.bundle import export_bundle
    from edgetune_export.device import device_file

    from edgetune.comparison.plan import SEEDS, planned
    from edgetune.comparison.running import Exporting, compare_into
    from edgetune.reports.comparison import comparison_report, files_of
    from edgetune.sweep.variant import evaluating
    from edgetune.sweep.variants import changes_asked

    config = configured(config_path, given, ("model", "data", "task", "eval_data"), evaluating)
    lists = {"method": methods, "virtual_tokens": lengths, "init": inits, "reparameterise": reparameterise}
    plan = planned(config, changes_asked(lists, variants), SEEDS if seeds is None else seeds)
    report = comparison_report()
    exporting = Exporting(export_bundle, device_file)
    with report.interruption(out):
        comparison = compare_into(out, plan, exporting, report, files_of, force=force, resume=resume)
    report.finish(out, comparison)
