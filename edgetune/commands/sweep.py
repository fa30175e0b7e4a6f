"""`edgetune sweep`: which method, length, start and learning rate is best on the user's own rows and base."""

from __future__ import annotations

from typing import Any

import click

from edgetune.commands.configured import configured
from edgetune.commands.options import config_options


@click.command()
@config_options(
    "task", "method", "virtual_tokens", "init", "reparameterise", "learning_rate", "eval_every", "save_every",
    "tensorboard",
)  # fmt: skip
@click.option(
    "--task", help="classify, tag, regress or generate; the ecosystem's names (text-classification …) work too."
)
@click.option("--methods", metavar="A,B", help="Methods to try.  [default: all]")
@click.option("--lengths", metavar="P,Q", help="Virtual tokens to try.  [default: as train]")
@click.option("--inits", metavar="A,B", help="Starts to try.  [default: as train]")
@click.option("--reparameterise", metavar="A,B", help="Networks to tune through, e.g. none,mlp.  [default: as train]")
@click.option(
    "--learning-rates", metavar="A,B|LOW..HIGH",
    help="Peak learning rates to try, or a range of them, by its logarithm.  [default: the method's own]",
)  # fmt: skip
@click.option("--seeds", type=int, help="Runs of each configuration; its quality is their mean.  [default: 1]")
@click.option("--eval-every", type=int, help="Steps between evaluations.  [default: a fifth of the steps]")
@click.option("--trials", type=int, help="Budget: configurations to try.")
@click.option("--minutes", type=float, help="Budget: after so long no further one begins.")
@click.option("--total-steps", type=int, help="Budget: after so many steps of all runs no further one begins.")
@click.option(
    "--search", type=click.Choice(("grid", "random", "tpe")),
    help="How configurations are chosen.  [default: grid where all of it fits the budget, else tpe]",
)  # fmt: skip
@click.option("--metric", help="Rank by this metric of the evaluations.  [default: the task's own]")
@click.option(
    "--early-stopping/--no-early-stopping", default=True, show_default=True,
    help="ASHA: stop configurations whose first seed lags at an evaluation.",
)  # fmt: skip
@click.option("--grace-period", type=int, help="Steps before one may be stopped.  [default: the first evaluation]")
@click.option("--reduction-factor", type=int, help="One in so many goes on at each rung.  [default: 4]")
@click.option(
    "--ray", is_flag=False, flag_value="local", metavar="[ADDRESS]",
    help="Run trials on Ray: at this address (auto, HOST:6379, ray://HOST:10001), or a Ray of its own here.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(1), help="With --ray: trials at a time.  [default: as Ray has room]")
@click.option(
    "--threads", type=click.IntRange(1),
    help="Threads of a trial; with as many, every engine gives the same bits.  [default: all, with --ray 1]",
)  # fmt: skip
@click.option("--out", required=True, help="Folder for the page, the figures, the trials and the best adapter.")
@click.option("--config", "config_path", help="A TOML file with options of a run; the command line wins.")
@click.option("--force", is_flag=True, help="Replace an earlier sweep, and an unfinished one.")
@click.option("--resume", is_flag=True, help="Continue a sweep that was killed or stopped; the budget may be another.")
def command(
    methods: str | None,
    lengths: str | None,
    inits: str | None,
    reparameterise: str | None,
    learning_rates: str | None,
    seeds: int | None,
    trials: int | None,
    minutes: float | None,
    total_steps: int | None,
    search: Any,
    metric: str | None,
    early_stopping: bool,
    grace_period: int | None,
    reduction_factor: int | None,
    ray: str | None,
    workers: int | None,
    threads: int | None,
    out: str,
    config_path: str | None,
    force: bool,
    resume: bool,
    **given: Any,
) -> None:
    """Search methods × lengths × starts × learning rates × seeds for the best, within a budget."""
    from edgetune_export.device import device_file

    from edgetune.errors import ConfigError
    from edgetune.reports.sweep import files_of, sweep_report
    from edgetune.sweep.budget import Budget
    from edgetune.sweep.cluster import Cluster
    from edgetune.sweep.plan import REDUCTION_FACTOR, SEEDS, sweep_planned
    from edgetune.sweep.running import Leaving, sweep_into
    from edgetune.sweep.space import space_asked
    from edgetune.sweep.variant import evaluating

    if workers is not None and ray is None:
        raise ConfigError("--workers is for --ray: without it one trial runs after the other, in this process")
    config = configured(config_path, given, ("model", "data", "task", "eval_data"), evaluating)
    lists = {
        "method": methods, "virtual_tokens": lengths, "init": inits, "reparameterise": reparameterise,
        "learning_rate": learning_rates,
    }  # fmt: skip
    plan = sweep_planned(
        config,
        space_asked(lists),
        Budget(trials, minutes, total_steps),
        search=search,
        seeds=SEEDS if seeds is None else seeds,
        metric=metric,
        early_stopping=early_stopping,
        grace_period=grace_period,
        reduction_factor=REDUCTION_FACTOR if reduction_factor is None else reduction_factor,
    )
    report = sweep_report()
    cluster = Cluster(ray, workers, threads or 1) if ray is not None else None
    leaving = Leaving(device_file, files_of(out))
    with report.interruption(out):
        sweep = sweep_into(
            out, plan, leaving, report, cluster=cluster, threads=threads, force=force, resume=resume
        )  # fmt: skip
    report.finish(out, sweep)
