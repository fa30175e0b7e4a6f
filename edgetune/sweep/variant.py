"""One way of tuning among several: what it changes, and what it is called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgetune.config import TrainConfig
from edgetune.errors import ConfigError

EVALUATIONS = 5
"""In a run, where --eval-every does not say otherwise."""

SHARED = frozenset({
    "model", "data", "eval_data", "task", "columns", "steps", "batch_size", "accumulate", "pooling", "max_length",
    "precision", "base_precision", "base_block_size", "base_zeros", "base_keep", "max_new_tokens", "stop", "eval_every",
    "patience", "save_every", "tensorboard", "seed", "template", "label_words", "labels", "shuffle_buffer",
})  # fmt: skip
"""Options that all variants have in common: the rows, the budget, and what the one base graph in the bundle fixes."""

SHORT = {"learning_rate": "lr"}
NAMED_ANYWAY = ("method", "virtual_tokens")


@dataclass(frozen=True)
class Variant:
    """One way of tuning; `name` is fit for a file, `config` holds the first of the seeds."""

    name: str
    config: TrainConfig
    differs: Mapping[str, Any]
    """Options besides the method and its length in which it differs from the configuration that all started from."""

    @property
    def described(self) -> str:
        """`prefix, 20 tokens, init text`; a prefix that differs by layer has its lengths among what differs."""
        count, lengths = self.config.virtual_tokens, self.config.prefix_lengths
        tokens = [] if lengths and not self.config.has_prompt else [f"{count} token{'s' * (count != 1)}"]
        others = [f"{name.replace('_', ' ')} {value}" for name, value in self.differs.items()]
        return ", ".join([self.config.method, *tokens, *others])


def variant_of(config: TrainConfig, change: Mapping[str, Any]) -> Variant:
    """Raises ConfigError for values that the options do not take."""
    changed = replace(config, **change)
    differs = {
        name: value for name, value in change.items() if name not in NAMED_ANYWAY and value != getattr(config, name)
    }
    parts = [changed.method, str(changed.virtual_tokens)]
    for name, value in differs.items():
        # a word says what it is about, numbers do not
        is_word = isinstance(value, str) and any(map(str.isalpha, value))
        parts += [value] if is_word else [SHORT.get(name, name), str(value)]
    return Variant(re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts))[:100], changed, differs)


def evaluating(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a run, with EVALUATIONS of it where they do not say how many."""
    steps = values.get("steps", TrainConfig().steps)
    every = max(1, steps // EVALUATIONS) if isinstance(steps, int) else 1
    return {"eval_every": every, **values}


def seeds_of(config: TrainConfig, count: int) -> tuple[int, ...]:
    """So many seeds from the configuration's own on.

    Raises:
        ConfigError: runs of it would leave nothing to rank by.
    """
    if count < 1:
        raise ConfigError(f"seeds is {count}; the least is 1")
    if config.steps < 1:
        raise ConfigError("steps is 0: untrained adapters are all alike; give at least 1")
    if not config.eval_data:
        raise ConfigError("eval_data is missing: quality is measured on rows that training does not see")
    return tuple(range(config.seed, config.seed + count))


def refuse_two_purposes(purposes: set[str]) -> None:
    """One base serves all: it is loaded once."""
    if len(purposes) > 1:
        raise ConfigError("label words and other heads need different base graphs; compare the one or the other")
