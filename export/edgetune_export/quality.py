"""What a bundle's precision costs: the torch model in float32 and the bundle that ships, on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgetune.adapter import Adapter
from edgetune.errors import DataError
from edgetune.evaluation.adapter import evaluate_adapter
from edgetune.evaluation.bundle import evaluate_bundle
from edgetune.models.base import Base


@dataclass(frozen=True)
class Quality:
    """Metrics of one adapter, by name."""

    torch: dict[str, float]
    bundle: dict[str, float]


def torch_metrics(
    base: Base, adapters: Mapping[str, Adapter], data: str, columns: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """By adapter, those alone that know the rows' labels.

    Raises:
        DataError: no adapter can be measured on these rows.
    """
    found: dict[str, dict[str, float]] = {}
    refusal: DataError | None = None
    for name, adapter in adapters.items():
        try:
            found[name] = evaluate_adapter(base, adapter, data, columns)
        except DataError as error:
            refusal = error
    if not found and refusal is not None:
        raise refusal
    return found


def qualities(
    torch: Mapping[str, dict[str, float]], bundle: str | Path, data: str, columns: Mapping[str, str]
) -> dict[str, Quality]:
    """What `torch_metrics` found, and what the bundle gives on the same rows."""
    return {name: Quality(metrics, evaluate_bundle(bundle, data, name, columns)) for name, metrics in torch.items()}
