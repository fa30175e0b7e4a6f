"""`edgetune train --tasks`: many tasks on one base, an adapter each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def train_tasks(path: str, out: str, given: Mapping[str, Any], *, force: bool, resume: bool) -> None:
    """Tunes the tasks of the file at `path`; what is `given` holds for all of them."""
    from edgetune.errors import ConfigError
    from edgetune.reports.together import together_report
    from edgetune.together.result import train_together_into
    from edgetune.together.tasks import read_tasks

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("--tasks trains in one process: run edgetune train without a launcher, or a task at a time")
    tasks = read_tasks(path, given)
    with together_report(tasks) as report, report.interruption():
        results = train_together_into(out, tasks, report.step, report.done, force=force, resume=resume)
    report.finish(out, results)
