"""Metrics that both ways of evaluating share."""

from __future__ import annotations

import math


def with_perplexity(metrics: dict[str, float], task: str) -> dict[str, float]:
    """A generator's metrics with exp(loss per token) beside the loss."""
    return {**metrics, "perplexity": math.exp(metrics["loss"])} if task == "generate" else metrics
