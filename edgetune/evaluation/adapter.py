"""An adapter on its torch base, measured on rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from edgetune.adapter import Adapter, tuned_from
from edgetune.data.rows import read_rows
from edgetune.models.base import Base
from edgetune.training.examples import text_limit
from edgetune.training.objective import measured
from edgetune.training.processes import ALONE, Processes
from edgetune.training.sets import examples_of, rows_of


def evaluate_adapter(
    base: Base,
    adapter: Adapter,
    data: str | Path,
    columns: Mapping[str, str] | None = None,
    processes: Processes = ALONE,
) -> dict[str, float]:
    """`rows`, `loss`, and the metrics of the task, as training reports them.

    Of several processes all call this; each answers its share, and all have the metrics of everything.

    Raises:
        DataError: rows that cannot be used, or a label that the adapter does not know.
        BaseMismatchError: the adapter was tuned on another base.
    """
    base.model.to(torch.device(processes.device))  # type: ignore[arg-type]
    tuned = tuned_from(base, adapter).to(base.model.device)
    limit = text_limit(base, adapter.virtual_tokens)
    task: Any = adapter.task
    rows = rows_of(str(data), task, read_rows(data, task=task, columns=columns), adapter.labels)
    examples = examples_of(base, rows, limit, tuned.words, tuned.virtual().suffix_length)
    return {"rows": len(rows.rows), **measured(tuned, examples, processes=processes)}
