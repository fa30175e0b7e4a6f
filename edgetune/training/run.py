"""A whole training run: rows in, adapter out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from edgetune.adapter import Adapter, adapter_from
from edgetune.config import TrainConfig
from edgetune.data.labels import label_ids, label_names
from edgetune.data.rows import Conversation, LabelledText, PromptCompletion, read_rows
from edgetune.errors import ConfigError
from edgetune.methods.head import LinearHead, MlpHead
from edgetune.methods.start import starting_soft
from edgetune.methods.tuned import Tuned
from edgetune.models.base import Base, load_base
from edgetune.models.rounding import rounded, weights_of
from edgetune.training.examples import Example, class_examples, generation_examples, text_limit
from edgetune.training.loop import Outcome, Progress, fit
from edgetune.training.pairs import pair_examples
from edgetune.training.unfinished import Unfinished


@dataclass(frozen=True)
class Rows:
    """The rows of one file: a classifier's with their labels' numbers."""

    path: str
    texts: list[LabelledText]
    labels: list[int]
    pairs: list[PromptCompletion | Conversation]


def read_sets(config: TrainConfig) -> tuple[list[Rows], tuple[str, ...]]:
    """Training rows, held-out rows where there are any, and the label names; no model is needed yet."""
    paths = [config.data, *([config.eval_data] if config.eval_data else [])]
    if config.task == "generate":
        return [Rows(path, [], [], read_rows(path, task="generate", columns=config.columns)) for path in paths], ()
    texts = [read_rows(path, task="classify", columns=config.columns) for path in paths]
    names = label_names(texts[0], config.data)
    return [Rows(path, rows, label_ids(rows, names, path), []) for path, rows in zip(paths, texts)], tuple(names)


def examples_of(base: Base, rows: Rows, limit: int | None) -> list[Example]:
    if rows.texts:
        return class_examples(base, rows.texts, rows.labels, limit)
    if base.places:
        return pair_examples(base, rows.pairs, limit, rows.path)
    return generation_examples(base, rows.pairs, limit, rows.path)


def untrained(base: Base, config: TrainConfig, labels: tuple[str, ...]) -> Tuned:
    """The learned parts at their first values; the same seed gives the same values."""
    generator = torch.Generator().manual_seed(config.seed)
    soft = starting_soft(base, config, labels, generator)
    if config.task != "classify":
        if config.head != "linear":
            raise ConfigError(f"--head {config.head} is a classifier's; a generator has none: leave it out")
        return Tuned(base, soft, None, config.pooling)
    size, classes = base.hidden_size, len(labels)
    head = MlpHead(size, classes, size, generator=generator) if config.head == "mlp" else LinearHead(size, classes)
    return Tuned(base, soft, head, config.pooling)


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
    sets, labels = read_sets(config)
    base = base or load_base(config.model, config.task)
    weights = weights_of(config)
    limit = text_limit(base, config.virtual_tokens, config.max_length)
    examples, *held_out = (examples_of(base, rows, limit) for rows in sets)
    with rounded(base, weights):
        tuned = untrained(base, config, labels)
        outcome = fit(tuned, config, examples, held_out[0] if held_out else (), report, run)
        adapter = adapter_from(
            tuned, task=config.task, method=config.method, labels=labels, generation=config.generation_defaults
        )
    return replace(adapter, tuned_for=weights.described() if weights.rounds else {}), outcome
