"""An adapter on its torch base, measured on rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetune.adapter import Adapter, tuned_from
from edgetune.data.rows import read_rows
from edgetune.models.base import Base
from edgetune.training.examples import text_limit
from edgetune.training.objective import measured
from edgetune.training.sets import examples_of, rows_of


def evaluate_adapter(
    base: Base, adapter: Adapter, data: str | Path, columns: Mapping[str, str] | None = None
) -> dict[str, float]:
    """`rows`, `loss`, and the metrics of the task, as training reports them.

    Raises:
        DataError: rows that cannot be used, or a label that the adapter does not know.
        BaseMismatchError: the adapter was tuned on another base.
    """
    tuned = tuned_from(base, adapter)
    limit = text_limit(base, adapter.virtual_tokens)
    task: Any = adapter.task
    rows = rows_of(str(data), task, read_rows(data, task=task, columns=columns), adapter.labels)
    examples = examples_of(base, rows, limit, tuned.words, tuned.virtual().suffix_length)
    return {"rows": len(rows.rows), **measured(tuned, examples)}
