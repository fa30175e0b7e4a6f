"""What a task answers with: a head at its start, or label words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from edgetune.config import Pooling, TrainConfig
from edgetune.errors import ConfigError, DataError
from edgetune.methods.head import LinearHead, MlpHead
from edgetune.methods.scaled import ScaledHead
from edgetune.methods.start import starting_soft
from edgetune.methods.tuned import Tuned
from edgetune.methods.words import label_words, word_head
from edgetune.models.base import Base
from edgetune.training.sets import Rows
from edgetune.training.streamed import StreamedRows
from edgetune.training.transfer import take_head, transferred

DEFAULT = TrainConfig()


def untrained(base: Base, config: TrainConfig, labels: Sequence[str], rows: Rows | StreamedRows) -> Tuned:
    """The learned parts at their first values; the same seed gives the same values.

    Raises:
        ConfigError: options that do not fit the task or the base.
        DataError: numbers to learn that are all the same.
    """
    refuse_unfit(config)
    generator = torch.Generator().manual_seed(config.seed)
    source = transferred(base, config)
    soft = starting_soft(base, config, labels, generator, source.virtual() if source else None)
    if config.task == "generate":
        return Tuned(base, soft, None, config.pooling)
    if config.head == "words":
        words = label_words(base, config, labels, rows.has_pairs())
        head, pooling = (word_head(base, words.ids), "mask") if base.masked else (None, config.pooling)
        return Tuned(base, soft, head, pooling, labels=labels, words=words)
    size, classes = base.hidden_size, 1 if config.task == "regress" else len(labels)
    plain = MlpHead(size, classes, size, generator=generator) if config.head == "mlp" else LinearHead(size, classes)
    if source:
        take_head(plain, source, labels)
    pooling: Pooling = "each" if config.task == "tag" else config.pooling
    return Tuned(base, soft, scaled(plain, rows) if config.task == "regress" else plain, pooling, labels=labels)


def scaled(head: LinearHead, rows: Rows | StreamedRows) -> ScaledHead:
    mean, deviation = rows.scale()
    if not deviation:
        raise DataError(f"{rows.path}: every score is {mean:g}, so there is nothing to learn. Add rows of other scores")
    return ScaledHead(head, mean, deviation)


def refuse_unfit(config: TrainConfig) -> None:
    """Options of other tasks and heads do nothing, so they are a mistake."""
    if config.task == "generate" and config.head != DEFAULT.head:
        raise ConfigError(f"--head {config.head} is a classifier's; a generator has none: leave it out")
    if config.head == "words" and config.task != "classify":
        raise ConfigError(f"--head words is for --task classify; for --task {config.task} use linear or mlp")
    if config.labels is not None and (config.task not in ("classify", "tag") or len(config.label_list) < 2):
        raise ConfigError(
            f"--labels {config.labels} are the names, two or more, that --task classify or tag tells apart"
        )
    given: dict[str, Any] = {"--template": config.template, "--label-words": config.label_words}
    for flag, value in given.items():
        if value and config.head != "words":
            raise ConfigError(f"{flag} is for --head words: add it, or leave {flag} out")
    reads = {"words": "the mask token or the last one", "tag": "each word's first token"}
    for what in (config.head, config.task):
        if what in reads and config.pooling != DEFAULT.pooling:
            raise ConfigError(f"--pooling {config.pooling} does not go with {what}, which reads {reads[what]}")
