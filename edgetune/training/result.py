"""The folder that a run leaves: the adapter, the configuration and the log, all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from edgetune.adapter import DESCRIPTION, Adapter
from edgetune.config import TrainConfig
from edgetune.models.base import Base
from edgetune.output import new_folder
from edgetune.training.loop import Outcome, Progress
from edgetune.training.run import train

CONFIG, LOG = "run.toml", "log.jsonl"


def train_into(
    out: str | Path,
    config: TrainConfig,
    report: Callable[[Progress], None] = lambda _: None,
    *,
    force: bool = False,
    base: Base | None = None,
) -> tuple[Adapter, Outcome]:
    """Trains and writes; `out` appears only when everything in it is whole.

    Raises:
        OutputExistsError: `out` is taken and `force` is false; told before training.
    """
    with new_folder(out, force=force, marker=(DESCRIPTION,)) as folder:
        with (folder / LOG).open("w", encoding="utf-8") as log:

            def step(progress: Progress) -> None:
                entry = {name: value for name, value in asdict(progress).items() if value is not None}
                log.write(json.dumps(entry) + "\n")
                report(progress)

            adapter, outcome = train(config, step, base)
            log.write(json.dumps({"outcome": asdict(outcome)}) + "\n")
        adapter.save(folder)
        (folder / CONFIG).write_text(config.toml(), encoding="utf-8")
    return adapter, outcome
