"""A whole training run: rows in, adapter out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from edgetune.adapter import Adapter, adapter_from
from edgetune.config import TrainConfig
from edgetune.methods.lengths import positions_taken, suffix_length
from edgetune.methods.tuned import Tuned
from edgetune.models.base import Base, load_base
from edgetune.models.rounding import rounded, weights_of
from edgetune.training.examples import Example, text_limit
from edgetune.training.heads import refuse_unfit, untrained
from edgetune.training.loop import Outcome, Progress, fit
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
) -> tuple[Adapter, Outcome]:
    """Tunes an adapter as the configuration says; `base` saves loading it again, `run` keeps what a kill would lose.

    Raises:
        EdgetuneError: rows, options and base do not fit together; nothing was trained then.
    """
    refuse_unfit(config)
    read = rows_for(config)
    base = base or load_base(config.model, config.purpose)
    with rounded(base, weights_of(config)):
        work = prepared(base, config, *read)
        outcome = fit(work.tuned, config, work.source, work.held_out, report, run)
        return adapter_of(work, config), outcome


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
    tuned = untrained(base, config, labels, rows)
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
