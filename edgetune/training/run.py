"""A whole training run: rows in, adapter out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch

from edgetune.adapter import Adapter, adapter_from
from edgetune.config import TrainConfig
from edgetune.methods.lengths import positions_taken, suffix_length
from edgetune.methods.tuned import Tuned
from edgetune.models.base import Base, load_base
from edgetune.models.rounding import rounded, weights_of
from edgetune.training.examples import Example, text_limit
from edgetune.training.heads import refuse_unfit, untrained
from edgetune.training.loop import Outcome, Progress, fit
from edgetune.training.processes import ALONE, Processes
from edgetune.training.rows import rows_for, source_of
from edgetune.training.sets import Rows, examples_of
from edgetune.training.source import Source
from edgetune.training.streamed import StreamedRows
from edgetune.training.unfinished import Unfinished


def train(
    config: TrainConfig,
    report: Callable[[Progress], None] = lambda _: None,
    base: Base | None = None,
    run: Unfinished | None = None,
    processes: Processes = ALONE,
) -> tuple[Adapter, Outcome]:
    """Tunes an adapter as the configuration says; `base` saves loading it again, `run` keeps what a kill would lose.

    Of several processes all call this, with the same configuration, and the first alone with `run`.

    Raises:
        EdgetuneError: rows, options and base do not fit together; nothing was trained then.
    """
    refuse_unfit(config)
    read = rows_for(config)
    with run_base(config, base, processes) as base:
        work = prepared(base, config, *read)
        outcome = fit(work.tuned, config, work.source, work.held_out, report, run, processes)
        return adapter_of(work, config), outcome


@contextmanager
def run_base(config: TrainConfig, base: Base | None, processes: Processes) -> Iterator[Base]:
    """The base as the run computes with it: rounded, and whole or divided among the processes."""
    weights = weights_of(config)
    if processes.sharding:
        from edgetune.training.sharding import refuse_whole, sharded_base

        refuse_whole(config, processes)
        yield sharded_base(config.model, config.purpose, weights, processes)
        return
    base = base or load_base(config.model, config.purpose)
    base.model.to(torch.device(processes.device))  # type: ignore[arg-type]
    with rounded(base, weights):
        yield base


@dataclass(frozen=True)
class Prepared:
    """A run before its first step; `word_split` is how a plain text becomes words, of a task that tags."""

    tuned: Tuned
    source: Source
    held_out: Sequence[Example]
    labels: tuple[str, ...]
    word_split: str


def prepared(
    base: Base, config: TrainConfig, rows: Rows | StreamedRows, held_out: Sequence[Rows], labels: tuple[str, ...]
) -> Prepared:
    """What the rows are for the base, and the learned parts at their first values.

    Raises:
        EdgetuneError: rows, options and base do not fit together.
    """
    limit = text_limit(base, positions_taken(base, config), config.max_length)
    split = rows.word_split() if config.task == "tag" else "space"
    tuned = untrained(base, config, labels, rows).to(base.model.device)
    read = partial(examples_of, base, limit=limit, words=tuned.words, suffix=suffix_length(config))
    source, measured_on = source_of(rows, read), [read(rows) for rows in held_out]
    return Prepared(tuned, source, measured_on[0] if measured_on else (), labels, split)


def adapter_of(work: Prepared, config: TrainConfig) -> Adapter:
    """What was learned, as it stands."""
    adapter = adapter_from(
        work.tuned, task=config.task, method=config.method, labels=work.labels, generation=config.generation_defaults,
        word_split=work.word_split,
    )  # fmt: skip
    weights = weights_of(config)
    return replace(adapter, tuned_for=weights.described() if weights.rounds else {})
