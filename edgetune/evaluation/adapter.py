"""An adapter on its torch base, measured on rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgetune.adapter import Adapter, tuned_from
from edgetune.data.labels import label_ids
from edgetune.data.rows import read_rows
from edgetune.evaluation.metrics import with_perplexity
from edgetune.models.base import Base
from edgetune.training.examples import class_examples, generation_examples, text_limit
from edgetune.training.objective import measured
from edgetune.training.pairs import pair_examples


def evaluate_adapter(
    base: Base, adapter: Adapter, data: str | Path, columns: Mapping[str, str] | None = None
) -> dict[str, float]:
    """`rows`, `loss`, and `accuracy` (classifiers) or `perplexity` (generators).

    Raises:
        DataError: rows that cannot be used, or a label that the adapter does not know.
        BaseMismatchError: the adapter was tuned on another base.
    """
    tuned = tuned_from(base, adapter)
    limit = text_limit(base, adapter.virtual_tokens)
    if adapter.task == "classify":
        rows = read_rows(data, task="classify", columns=columns)
        examples = class_examples(base, rows, label_ids(rows, adapter.labels, data), limit)
    else:
        rows = read_rows(data, task="generate", columns=columns)
        if base.places:
            examples = pair_examples(base, rows, limit, str(data))
        else:
            suffix = tuned.virtual().suffix_length
            examples = generation_examples(base, rows, limit, str(data), suffix)
    return with_perplexity({"rows": len(examples), **measured(tuned, examples)}, adapter.task)
