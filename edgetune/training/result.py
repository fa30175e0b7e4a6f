"""The folder that a run leaves: the adapter, the configuration and the log, all of it or nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from edgetune.adapter import DESCRIPTION, Adapter, load_adapter
from edgetune.config import TrainConfig
from edgetune.models.base import Base
from edgetune.output import new_folder
from edgetune.training.loop import Outcome, Progress
from edgetune.training.processes import ALONE, Processes
from edgetune.training.run import train
from edgetune.training.tensorboard import curves
from edgetune.training.unfinished import LOG, Unfinished, folder_of, remove, unfinished

CONFIG = "run.toml"


def train_into(
    out: str | Path,
    config: TrainConfig,
    report: Callable[[Progress], None] = lambda _: None,
    *,
    force: bool = False,
    resume: bool = False,
    base: Base | None = None,
    processes: Processes = ALONE,
) -> tuple[Adapter, Outcome]:
    """Trains and writes; `out` appears only when everything in it is whole.

    Until then the run's state is in `OUT.run`. With `resume` a run that was killed, at whatever moment, goes on from
    there and ends with the adapter of one that never was. Of several processes all call this; the first alone reads and
    writes folders, and reports.

    Raises:
        ConfigError: `resume` and there is nothing to go on with, or something is not what the run was begun with.
        OutputExistsError: `out` is taken and `force` is false, or an unfinished run is there and neither `resume` nor
            `force` is given; told before training.
    """
    if resume and processes.from_main(lambda: published(out)):
        return processes.from_main(lambda: taken_from(out))
    if not processes.is_main:
        return train(config, base=base, processes=processes)
    refuse_taken(out, force=force)
    with unfinished(out, config, force=force, resume=resume) as run:
        with curves(config.tensorboard, run.step) as draw:

            def step(progress: Progress) -> None:
                run.record(asdict(progress))
                draw(progress)
                report(progress)

            adapter, outcome = train(config, step, base, run, processes)
        publish(out, run, adapter, outcome, force=force)
    return adapter, outcome


def publish(out: str | Path, run: Unfinished, adapter: Adapter, outcome: Outcome, *, force: bool) -> None:
    """The result of a run, with its log, at once."""
    run.record({"outcome": asdict(outcome)})
    with new_folder(out, force=force, marker=(DESCRIPTION,)) as folder:
        shutil.copyfile(run.folder / LOG, folder / LOG)
        adapter.save(folder)
        (folder / CONFIG).write_text(run.config.toml(), encoding="utf-8")


def refuse_taken(out: str | Path, *, force: bool, marker: Sequence[str] = (DESCRIPTION,)) -> None:
    """`new_folder`'s own refusals, before any work: a result could be written there."""

    class Tried(Exception):
        pass

    try:
        with new_folder(out, force=force, marker=marker):
            raise Tried
    except Tried:
        pass


def taken_from(out: str | Path) -> tuple[Adapter, Outcome]:
    """A result that is there, once nothing is left of its run."""
    remove(folder_of(out))
    return load_adapter(out), logged_outcome(Path(out, LOG))


def published(out: str | Path) -> bool:
    """The run was killed after its result had appeared and before its state was gone: both hold the same log."""
    try:
        return Path(out, LOG).read_bytes() == (folder_of(out) / LOG).read_bytes()
    except OSError:
        return False


def logged_outcome(log: Path) -> Outcome:
    """The log's last line."""
    return Outcome(**json.loads(log.read_text("utf-8").splitlines()[-1])["outcome"])
