"""What a comparison runs: variants that differ in what is learned, each once a seed, all with the same budget."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from edgetune.config import METHODS, TrainConfig
from edgetune.data.shards import is_stream
from edgetune.errors import ConfigError

SEEDS = 3
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


@dataclass(frozen=True)
class Run:
    """One training run of a comparison, counted from 1."""

    number: int
    count: int
    variant: Variant
    config: TrainConfig

    @property
    def described(self) -> str:
        """`run 3 of 6: prefix, 20 tokens, seed 1`."""
        return f"run {self.number} of {self.count}: {self.variant.described}, seed {self.config.seed}"


@dataclass(frozen=True)
class Plan:
    """Variants in the order in which they were asked for."""

    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]

    @property
    def config(self) -> TrainConfig:
        """Of the first variant: what is shared can be read off any."""
        return self.variants[0].config

    @property
    def runs(self) -> list[Run]:
        """Every variant with one seed before any has its second, so that a machine that slows down slows all alike."""
        every = list(product(self.seeds, self.variants))
        return [
            Run(number, len(every), variant, replace(variant.config, seed=seed))
            for number, (seed, variant) in enumerate(every, 1)
        ]


def planned(config: TrainConfig, changes: Sequence[Mapping[str, Any]], seeds: int = SEEDS) -> Plan:
    """A variant for each set of changed options.

    Raises:
        ConfigError: nothing can be compared this way.
    """
    if seeds < 1:
        raise ConfigError(f"seeds is {seeds}; the least is 1")
    if config.steps < 1:
        raise ConfigError("steps is 0: untrained adapters are all alike; give at least 1")
    if not config.eval_data:
        raise ConfigError("a comparison needs eval_data: quality is measured on rows that training does not see")
    if config.shuffle_buffer is not None or is_stream(config.data):
        raise ConfigError("a comparison holds its rows in memory: name one file, and leave --shuffle-buffer out")
    if not changes:
        raise ConfigError(f"nothing to compare: name at least one method of {', '.join(METHODS)}")
    plain = replace(config, tensorboard=None)
    variants = tuple(variant_of(plain, change) for change in changes)
    if len({variant.config.purpose for variant in variants}) > 1:
        raise ConfigError("label words and other heads need different base graphs; compare the one or the other")
    names = [variant.name for variant in variants]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"the variant {name} was asked for {names.count(name)} times; once is enough")
    return Plan(variants, tuple(range(config.seed, config.seed + seeds)))


def variant_of(config: TrainConfig, change: Mapping[str, Any]) -> Variant:
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
