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
    rows = read_rows(config.data, task=config.task, columns=config.columns)
    held_out = read_rows(config.eval_data, task=config.task, columns=config.columns) if config.eval_data else []
    if config.task == "generate":
        sets = [generation_examples(base, r, limit, str(p)) for r, p in ((rows, config.data), (held_out, config.eval_data))]  # type: ignore[arg-type]
        return Prepared(*sets, labels=())
    names = label_names(rows)
    sets = [
        class_examples(base, r, label_ids(r, names, p), limit)  # type: ignore[arg-type]
        for r, p in ((rows, config.data), (held_out, config.eval_data))
    ]
    return Prepared(*sets, labels=tuple(names))


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
