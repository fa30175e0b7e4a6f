"""A whole training run: rows in, adapter out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgetune_runtime.words import split_of

from edgetune.adapter import Adapter, adapter_from
from edgetune.config import TrainConfig
from edgetune.methods.lengths import positions_taken, suffix_length
from edgetune.models.base import Base, load_base
from edgetune.models.rounding import rounded, weights_of
from edgetune.training.examples import text_limit
from edgetune.training.heads import refuse_unfit, untrained
from edgetune.training.loop import Outcome, Progress, fit
from edgetune.training.sets import examples_of, read_sets
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
    sets, labels = read_sets(config)
    base = base or load_base(config.model, config.purpose)
    weights = weights_of(config)
    limit = text_limit(base, positions_taken(base, config), config.max_length)
    split = split_of([row.tokens for row in sets[0].rows]) if config.task == "tag" else "space"
    with rounded(base, weights):
        tuned = untrained(base, config, labels, sets[0])
        examples, *held_out = (examples_of(base, rows, limit, tuned.words, suffix_length(config)) for rows in sets)
        outcome = fit(tuned, config, examples, held_out[0] if held_out else (), report, run)
        adapter = adapter_from(
            tuned, task=config.task, method=config.method, labels=labels, generation=config.generation_defaults,
            word_split=split,
        )  # fmt: skip
    return replace(adapter, tuned_for=weights.described() if weights.rounds else {}), outcome
