"""`edgetune train`: rows in, adapter out."""

from __future__ import annotations

from typing import Any

import click

from edgetune.commands.configured import configured
from edgetune.commands.launched import processes_together
from edgetune.commands.options import config_options, given_options
from edgetune.commands.together import train_tasks


@click.command()
@config_options("task")
@click.option(
    "--task", help="classify, tag, regress or generate; the ecosystem's names (text-classification …) work too."
)
@click.option("--out", required=True, help="Folder for the adapter, its configuration and its log.")
@click.option("--config", "config_path", help="A TOML file with any of these options; the command line wins.")
@click.option("--tasks", "tasks_path", help="A TOML file of many tasks to tune together; --out gets a folder for each.")
@click.option("--force", is_flag=True, help="Replace an adapter that is already there, and an unfinished run.")
@click.option("--resume", is_flag=True, help="Continue a run that was killed or stopped.")
def command(out: str, config_path: str | None, tasks_path: str | None, force: bool, resume: bool, **given: Any) -> None:
    """Tune a prompt or a prefix for a frozen base model, or one for each of many tasks at once."""
    if tasks_path:
        if config_path:
            raise click.UsageError("--config does not go with --tasks: that file has the options for all tasks as well")
        return train_tasks(tasks_path, out, given_options(given), force=force, resume=resume)
    with processes_together() as processes:
        from edgetune.reports.training import training_report
        from edgetune.training.launcher import as_launched
        from edgetune.training.result import train_into

        config = as_launched(configured(config_path, given))
        with training_report(config, quiet=not processes.is_main) as report, report.interruption(out):
            adapter, outcome = train_into(out, config, report.step, force=force, resume=resume, processes=processes)
        report.finish(out, adapter, outcome)
