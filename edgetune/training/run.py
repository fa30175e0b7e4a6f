"""A whole training run: rows in, adapter out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from edgetune.adapter import Adapter, adapter_from
from edgetune.config import TrainConfig
from edgetune.methods.lengths import positions_taken, suffix_length
from edgetune.models.base import Base, load_base
from edgetune.models.rounding import rounded, weights_of
from edgetune.training.examples import text_limit
from edgetune.training.heads import refuse_unfit, untrained
from edgetune.training.loop import Outcome, Progress, fit
from edgetune.training.rows import rows_for, source_of
from edgetune.training.sets import examples_of
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
    rows, held_out, labels = rows_for(config)
    base = base or load_base(config.model, config.purpose)
    weights = weights_of(config)
    limit = text_limit(base, positions_taken(base, config), config.max_length)
    split = rows.word_split() if config.task == "tag" else "space"
    with rounded(base, weights):
        tuned = untrained(base, config, labels, rows)
        read = partial(examples_of, base, limit=limit, words=tuned.words, suffix=suffix_length(config))
        source, measured_on = source_of(rows, read), [read(rows) for rows in held_out]
        outcome = fit(tuned, config, source, measured_on[0] if measured_on else (), report, run)
        adapter = adapter_from(
            tuned, task=config.task, method=config.method, labels=labels, generation=config.generation_defaults,
            word_split=split,
        )  # fmt: skip
    return replace(adapter, tuned_for=weights.described() if weights.rounds else {}), outcome
