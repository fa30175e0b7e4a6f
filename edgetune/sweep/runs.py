"""Training runs that are kept where they end: one that is there is read, one that was killed goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from edgetune.adapter import DESCRIPTION, Adapter, load_adapter
from edgetune.config import TrainConfig
from edgetune.methods.lengths import positions_taken, suffix_length
from edgetune.models.base import Base
from edgetune.sweep.figures import Setting
from edgetune.training.examples import text_limit
from edgetune.training.heads import untrained
from edgetune.training.loop import Outcome, Progress
from edgetune.training.result import logged_outcome, train_into
from edgetune.training.rows import rows_for
from edgetune.training.sets import Rows, examples_of
from edgetune.training.state import digest
from edgetune.training.streamed import StreamedRows
from edgetune.training.unfinished import LOG, STATE, folder_of


@dataclass(frozen=True)
class Sets:
    """The rows that all runs have in common; those to train on may be a stream."""

    train: Rows | StreamedRows
    held_out: Rows
    labels: tuple[str, ...]

    @property
    def count(self) -> int | None:
        """Rows to train on; None of a stream, which was not read to its end."""
        return None if isinstance(self.train, StreamedRows) else len(self.train.rows)


@dataclass(frozen=True)
class KeptRun:
    """A finished run: its adapter, how it ended, and each step and evaluation on the way."""

    adapter: Adapter
    outcome: Outcome
    seen: Sequence[Progress]

    @property
    def metrics(self) -> dict[str, float]:
        """On the held-out rows, at the step that was kept."""
        assert self.outcome.metrics is not None, "every run is evaluated at its end"
        return self.outcome.metrics

    @property
    def steps(self) -> int:
        """That it took."""
        return max(seen.step for seen in self.seen)


def sets_of(config: TrainConfig) -> Sets:
    """Raises DataError for rows that cannot be used."""
    train, (held_out,), labels = rows_for(config)
    return Sets(train, held_out, labels)


def setting_of(config: TrainConfig, base: Base, sets: Sets, seeds: Sequence[int]) -> Setting:
    """What figures say of the runs that start from `config`, with these seeds each."""
    return Setting(
        task=config.task,
        model=config.model,
        model_type=base.model_type,
        base_parameters=base.parameters,
        data=config.data,
        eval_data=str(config.eval_data),
        rows=sets.count,
        eval_rows=len(sets.held_out.rows),
        labels=len(sets.labels),
        steps=config.steps,
        rows_a_step=config.batch_size * config.accumulate,
        seeds=seeds,
    )


def kept_run(out: Path, config: TrainConfig, base: Base, report: Callable[[Progress], None]) -> KeptRun:
    """The run of `out`: trained there, continued from `OUT.run` after a kill, or only read where it is finished.

    What it gives was read from the disk in each case, so that a continued sweep ends as one that was never away. An
    error that `report` raises ends the run; an EdgetuneError leaves nothing of it.
    """
    if not (out / DESCRIPTION).is_file():
        train_into(out, config, report, resume=(folder_of(out) / STATE).is_file(), base=base)
    return read_run(out)


def read_run(out: Path) -> KeptRun:
    known = {f.name for f in fields(Progress)}
    lines = [json.loads(line) for line in (out / LOG).read_text("utf-8").splitlines()]
    seen = [Progress(**{name: entry[name] for name in known & entry.keys()}) for entry in lines if "loss" in entry]
    return KeptRun(load_adapter(out), logged_outcome(out / LOG), seen)


def refuse_what_cannot_run(configs: Sequence[TrainConfig], base: Base, sets: Sets) -> None:
    """What any of the runs would refuse, before the first."""
    words = None
    for config in configs:
        words = untrained(base, config, sets.labels, sets.train).words
    taken = max(positions_taken(base, config) for config in configs)
    suffix = max(suffix_length(config) for config in configs)
    for rows in (sets.train, sets.held_out):
        if isinstance(rows, StreamedRows):
            continue  # read as far as it is in advance
        examples_of(base, rows, text_limit(base, taken, configs[0].max_length), words, suffix)


def contents(base: Base, sets: Sets) -> dict[str, str]:
    """Hashes of what all runs work on, by the names that a refusal gives them."""
    train = sets.train
    of_train = train.stream.identity if isinstance(train, StreamedRows) else digest(map(repr, train.rows))
    return {
        "the base model": base.fingerprint,
        "the training rows": of_train,
        "the evaluation rows": digest(map(repr, sets.held_out.rows)),
    }
