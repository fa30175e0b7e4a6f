"""What a comparison measured, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from edgetune.metrics import Measure, Spread, measure_of, spread
from edgetune.sweep.figures import Setting


@dataclass(frozen=True)
class Latency:
    """Medians of one text at a time through the exported graph.

    Attributes:
        first_ms: until the first token; for a classifier, until the answer.
        per_token_ms: of each later token; None for a classifier.
        calls: texts behind the medians.
    """

    first_ms: float
    per_token_ms: float | None
    calls: int


@dataclass(frozen=True)
class RunFigures:
    """One run.

    Attributes:
        metrics: of the exported bundle on the held-out rows.
        train_seconds: evaluations included.
        kept_step: of the checkpoint that was kept.
        losses: (step, training loss) of each step.
        evaluations: (step, metrics) on the held-out rows while it ran, in torch.
    """

    seed: int
    metrics: Mapping[str, float]
    train_seconds: float
    samples_per_second: float
    kept_step: int
    losses: Sequence[tuple[int, float]]
    evaluations: Sequence[tuple[int, Mapping[str, float]]]


@dataclass(frozen=True)
class VariantFigures:
    """One variant, all its seeds.

    Attributes:
        name, described: `prefix-20`, and `prefix, 20 tokens`.
        parameters: all that is learned and kept, a classifier's head included.
        head_parameters: of that head; 0 for a generator.
        size_bytes: of the adapter's file on the device.
        best_seed: of the adapter that the bundle holds.
        latency: of that adapter.
    """

    name: str
    described: str
    method: str
    virtual_tokens: int
    learning_rate: float
    parameters: int
    head_parameters: int
    size_bytes: int
    best_seed: int
    latency: Latency
    runs: Sequence[RunFigures]

    def over_seeds(self, metric: str) -> Spread:
        return spread([run.metrics[metric] for run in self.runs])

    @property
    def train_seconds(self) -> float:
        """Of one run, on average."""
        return mean(run.train_seconds for run in self.runs)

    @property
    def samples_per_second(self) -> float:
        return mean(run.samples_per_second for run in self.runs)


@dataclass(frozen=True)
class BaseFigures:
    """The base without any adapter, in the same bundle; only a generator's answers by itself."""

    metrics: Mapping[str, float]
    latency: Latency


@dataclass(frozen=True)
class Comparison(Setting):
    """All that the table, the page and the recommendation are made from."""

    rows: int
    bundle_bytes: int
    base: BaseFigures | None
    variants: Sequence[VariantFigures]
    machine: str
    versions: Mapping[str, str]

    @property
    def measure(self) -> Measure:
        return measure_of(self.variants[0].runs[0].metrics)

    def quality(self, variant: VariantFigures) -> Spread:
        return variant.over_seeds(self.measure.name)

    def share(self, variant: VariantFigures) -> float:
        """Of the base's parameters, as a fraction."""
        return variant.parameters / self.base_parameters

    def named(self, name: str) -> VariantFigures:
        return next(variant for variant in self.variants if variant.name == name)
