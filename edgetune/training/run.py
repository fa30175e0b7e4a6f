"""A whole training run: rows in, adapter out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch

from edgetune.adapter import Adapter, adapter_from
from edgetune.config import TrainConfig
from edgetune.data.labels import label_ids, label_names
from edgetune.data.rows import read_rows
from edgetune.methods.head import LinearHead
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.models.base import Base, load_base
from edgetune.training.examples import Example, class_examples, generation_examples, text_limit
from edgetune.training.loop import Outcome, Progress, fit

SOFT = {"prompt": Prompt, "prefix": Prefix}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Everything that is checked before the first step."""

    examples: list[Example]
    held_out: list[Example]
    labels: tuple[str, ...]


def prepared(base: Base, config: TrainConfig) -> Prepared:
    """Rows read, checked and tokenised; no weights are touched."""
    limit = text_limit(base, config.virtual_tokens, config.max_length)
    paths = [config.data, *([config.eval_data] if config.eval_data else [])]
    if config.task == "generate":
        pairs = [(path, read_rows(path, task="generate", columns=config.columns)) for path in paths]
        sets, names = [generation_examples(base, rows, limit, path) for path, rows in pairs], []
    else:
        texts = [(path, read_rows(path, task="classify", columns=config.columns)) for path in paths]
        names = label_names(texts[0][1])
        sets = [class_examples(base, rows, label_ids(rows, names, path), limit) for path, rows in texts]
    return Prepared(sets[0], sets[1] if len(sets) > 1 else [], tuple(names))


def untrained(base: Base, config: TrainConfig, classes: int) -> Tuned:
    """The learned parts at their first values; the same seed gives the same values."""
    generator = torch.Generator().manual_seed(config.seed)
    soft = SOFT[config.method].sampled(base, config.virtual_tokens, generator)
    head = LinearHead(base.hidden_size, classes) if config.task == "classify" else None
    return Tuned(base, soft, head, config.pooling)


def train(
    config: TrainConfig, report: Callable[[Progress], None] = lambda _: None, base: Base | None = None
) -> tuple[Adapter, Outcome]:
    """Tunes an adapter as the configuration says; `base` saves loading it again.

    Raises:
        EdgetuneError: rows, options and base do not fit together; nothing was trained then.
    """
    base = base or load_base(config.model, config.task)
    data = prepared(base, config)
    tuned = untrained(base, config, len(data.labels))
    outcome = fit(tuned, config, data.examples, data.held_out, report)
    return adapter_from(tuned, task=config.task, method=config.method, labels=data.labels), outcome
