"""A bundle measured by the runtime that ships it: no torch takes part in the answers."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

import edgetune_runtime
import numpy as np

from edgetune.data.labels import label_ids
from edgetune.data.rows import Conversation, read_rows
from edgetune.errors import ConfigError, DataError
from edgetune.evaluation.metrics import with_perplexity


def evaluate_bundle(
    path: str | Path, data: str | Path, adapter: str | None = None, columns: Mapping[str, str] | None = None
) -> dict[str, float]:
    """`rows`, `loss`, `accuracy` or `perplexity`, and `rows_per_second`; `adapter` None is the bundle's default.

    Raises:
        DataError: rows that cannot be used, or a label that the adapter does not know.
        edgetune_runtime.EdgetuneError: a bundle or an adapter that cannot be used.
    """
    model = edgetune_runtime.load(path)
    name = adapter or model.default_adapter
    began = time.perf_counter()
    if model.task == "classify":
        metrics = classified(model, name, data, columns)
    else:
        metrics = generated(model, name, data, columns)
    metrics["rows_per_second"] = metrics["rows"] / (time.perf_counter() - began)
    return metrics


def classified(
    model: edgetune_runtime.Model, name: str | None, data: str | Path, columns: Mapping[str, str] | None
) -> dict[str, float]:
    if name is None:
        raise ConfigError("the bundle has no adapter, so it knows no labels; add one with edgetune add-adapter")
    rows = read_rows(data, task="classify", columns=columns)
    if name in model.adapters:  # a wrong name is the runtime's to refuse: it knows the right ones
        label_ids(rows, model.adapters[name].labels, data)
    texts = [row.text if row.text_pair is None else (row.text, row.text_pair) for row in rows]
    answers = model.classify(texts, adapter=name)
    right = sum(answer.label == row.label for answer, row in zip(answers, rows))
    loss = -sum(math.log(max(answer.scores[row.label], 1e-45)) for answer, row in zip(answers, rows))
    return {"rows": len(rows), "loss": loss / len(rows), "accuracy": right / len(rows)}


def generated(
    model: edgetune_runtime.Model, name: str | None, data: str | Path, columns: Mapping[str, str] | None
) -> dict[str, float]:
    """Loss per completion token, an end token behind each completion, as in training."""
    rows = read_rows(data, task="generate", columns=columns)
    total, count = 0.0, 0
    for row in rows:
        if isinstance(row, Conversation):
            raise DataError(f"{data}:{row.line}: chats need the model's template; evaluate them with --model and --adapter")
        prompt = model.tokenizer.encode(row.prompt)
        completion = [*model.tokenizer.encode(row.completion, add_special_tokens=False), *model.eos_token_ids[:1]]
        logits = model.logits([*prompt, *completion], adapter=name, keep=len(completion) + 1)[:-1].astype(np.float64)
        peak = logits.max(-1)
        normaliser = peak + np.log(np.exp(logits - peak[:, None]).sum(-1))
        total += float((normaliser - logits[np.arange(len(completion)), completion]).sum())
        count += len(completion)
    return with_perplexity({"rows": len(rows), "loss": total / count}, "generate")
