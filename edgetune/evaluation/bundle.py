"""A bundle measured by the runtime that ships it: no torch takes part in the answers."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import edgetune_runtime
import numpy as np

from edgetune.data.labels import label_ids
from edgetune.data.rows import Conversation, read_rows
from edgetune.errors import ConfigError, DataError
from edgetune.evaluation.metrics import macro_f1, text_metrics, with_perplexity


def evaluate_bundle(
    path: str | Path,
    data: str | Path,
    adapter: str | None = None,
    columns: Mapping[str, str] | None = None,
    write: int = 0,
) -> dict[str, float]:
    """`rows`, `loss`, and `accuracy` and `macro_f1`, or `perplexity`; `rows_per_second`; `adapter` None is the default.

    With `write` a generator also completes that many prompts greedily: `exact_match`, `bleu`, `rouge_l` against all
    completions that the rows give for the same prompt.

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
        metrics = generated(model, name, data, columns, write)
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
    expected, got = [row.label for row in rows], [answer.label for answer in answers]
    right = sum(a == b for a, b in zip(expected, got))
    loss = -sum(math.log(max(answer.scores[row.label], 1e-45)) for answer, row in zip(answers, rows))
    return {
        "rows": len(rows),
        "loss": loss / len(rows),
        "accuracy": right / len(rows),
        "macro_f1": macro_f1(expected, got),
    }


def generated(
    model: edgetune_runtime.Model, name: str | None, data: str | Path, columns: Mapping[str, str] | None, write: int
) -> dict[str, float]:
    """Loss per completion token, an end token behind each completion, as in training."""
    rows = read_rows(data, task="generate", columns=columns)
    total, count = 0.0, 0
    for row in rows:
        if isinstance(row, Conversation):
            raise DataError(
                f"{data}:{row.line}: chats need the model's template; evaluate them with --model and --adapter"
            )
        prompt = model.tokenizer.encode(row.prompt)
        completion = completion_ids(model, row.completion)
        logits = model.completion_logits(prompt, completion, adapter=name).astype(np.float64)
        peak = logits.max(-1)
        normaliser = peak + np.log(np.exp(logits - peak[:, None]).sum(-1))
        total += float((normaliser - logits[np.arange(len(completion)), completion]).sum())
        count += len(completion)
    metrics = with_perplexity({"rows": len(rows), "loss": total / count}, "generate")
    return {**metrics, **written(model, name, rows, write)} if write else metrics


def completion_ids(model: edgetune_runtime.Model, text: str) -> list[int]:
    """With an end token behind it; an encoder–decoder's completion is a whole text of its target tokenizer."""
    whole, ends = model.kind == "encoder-decoder", model.eos_token_ids
    ids = model.target_tokenizer.encode(text, add_special_tokens=whole)
    return ids if whole and ids and ids[-1] in ends else [*ids, *ends[:1]]


def written(model: edgetune_runtime.Model, name: str | None, rows: Sequence[Any], count: int) -> dict[str, float]:
    """Metrics of greedy completions of the first `count` distinct prompts, and how many there were."""
    references: dict[str, list[str]] = {}
    for row in rows:
        references.setdefault(row.prompt, []).append(row.completion)
    prompts = list(references)[:count]
    texts = [answer.text for answer in model.generate(prompts, adapter=name, temperature=0.0)]
    return {"written": len(prompts), **text_metrics([references[prompt] for prompt in prompts], texts)}
