"""Metrics of written texts, from libraries that the field reports them with."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

from edgetune.errors import ConfigError


def text_metrics(references: Sequence[Sequence[str]], texts: Sequence[str]) -> dict[str, float]:
    """`exact_match`, mean `token_f1`, corpus `bleu` (0 to 100, sacrebleu) and mean `rouge_l` (0 to 1, rouge-score).

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
        "token_f1": sum(max(token_f1(ref, text) for ref in refs) for refs, text in zip(references, texts)) / len(texts),
        "bleu": BLEU().corpus_score(list(texts), columns).score,
        "rouge_l": sum(rouge) / len(rouge),
    }


def token_f1(reference: str, text: str) -> float:
    """The F1 of the bags of words that two texts are (Rajpurkar et al. 2016, section 6.1): SQuAD's own normalisation.

    Texts without words are right if both are.
    """
    bags = [Counter(plain_words(x)) for x in (reference, text)]
    if not all(bags):
        return float(bags[0] == bags[1])
    return 2 * (bags[0] & bags[1]).total() / (bags[0].total() + bags[1].total())


def plain_words(text: str) -> list[str]:
    """In small letters, without punctuation and English articles."""
    bare = "".join(x for x in text.lower() if x not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()
