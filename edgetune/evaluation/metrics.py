"""Metrics by task, from libraries that the field reports them with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from edgetune.errors import ConfigError


def with_perplexity(metrics: dict[str, float], task: str) -> dict[str, float]:
    """A generator's metrics with exp(loss per token) beside the loss."""
    return {**metrics, "perplexity": math.exp(metrics["loss"])} if task == "generate" else metrics


def macro_f1(expected: Sequence[str], got: Sequence[str]) -> float:
    """The mean over the expected labels of 2·TP / (2·TP + FP + FN); rare labels weigh as much as common ones."""
    scores = []
    for label in sorted(set(expected)):
        hits = sum(e == g == label for e, g in zip(expected, got))
        scores.append(2 * hits / (sum(e == label for e in expected) + sum(g == label for g in got)))
    return sum(scores) / len(scores)


def text_metrics(references: Sequence[Sequence[str]], texts: Sequence[str]) -> dict[str, float]:
    """`exact_match`, corpus `bleu` (0 to 100, sacrebleu) and mean `rouge_l` (0 to 1, rouge-score).

    Args:
        references: for each text all that would be right.

    Raises:
        ConfigError: the libraries are not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise ConfigError(f'BLEU and ROUGE need {error.name}; run: pip install "edgetune[metrics]"') from error
    most = max(map(len, references))
    columns: Any = [[refs[i] if i < len(refs) else None for refs in references] for i in range(most)]
    scorer = RougeScorer(["rougeL"])
    rouge = [max(scorer.score(ref, text)["rougeL"].fmeasure for ref in refs) for refs, text in zip(references, texts)]
    exact = [text.strip() in {ref.strip() for ref in refs} for refs, text in zip(references, texts)]
    return {
        "exact_match": sum(exact) / len(exact),
        "bleu": BLEU().corpus_score(list(texts), columns).score,
        "rouge_l": sum(rouge) / len(rouge),
    }
