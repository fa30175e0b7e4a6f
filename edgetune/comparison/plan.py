"""What a comparison runs: variants that differ in what is learned, each once a seed, all with the same budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from edgetune.config import METHODS, TrainConfig
from edgetune.data.shards import is_stream
from edgetune.errors import ConfigError
from edgetune.sweep.variant import Variant, refuse_two_purposes, seeds_of, variant_of

SEEDS = 3


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
    numbers = seeds_of(config, seeds)
    if config.shuffle_buffer is not None or is_stream(config.data):
        raise ConfigError("a comparison holds its rows in memory: name one file, and leave --shuffle-buffer out")
    if not changes:
        raise ConfigError(f"nothing to compare: name at least one method of {', '.join(METHODS)}")
    plain = replace(config, tensorboard=None)
    variants = tuple(variant_of(plain, change) for change in changes)
    refuse_two_purposes({variant.config.purpose for variant in variants})
    names = [variant.name for variant in variants]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"the variant {name} was asked for {names.count(name)} times; once is enough")
    return Plan(variants, numbers)
