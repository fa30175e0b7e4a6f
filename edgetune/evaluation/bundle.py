"""A bundle measured by the runtime that ships it: no torch takes part in the answers."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import edgetune_runtime
import numpy as np

from edgetune.data.labels import label_ids, tag_ids
from edgetune.data.rows import Conversation, LabelledText, ScoredText, read_rows
from edgetune.errors import ConfigError, DataError
from edgetune.evaluation.metrics import text_metrics
from edgetune.metrics import accuracy, class_metrics, number_metrics, tag_metrics, with_perplexity


def evaluate_bundle(
    path: str | Path,
    data: str | Path,
    adapter: str | None = None,
    columns: Mapping[str, str] | None = None,
    write: int = 0,
    ensemble: str | None = None,
) -> dict[str, float]:
    """`rows`, the metrics of the adapter's task and `rows_per_second`; `adapter` None is the default.

    Of a classifier `loss`, `accuracy` and `macro_f1`, of tags `accuracy` and the entities' `f1`, of numbers `mse`,
    `pearson` and `spearman`, of texts `loss` and `perplexity`.

    With `write` a generator also completes that many prompts greedily: `exact_match`, `bleu`, `rouge_l` against all
    completions that the rows give for the same prompt. With `ensemble`, a name of the bundle's or `A,B,C`, the answers
    are those of a classifier's ensemble, and `accuracy of A` … are its members' own.

    Raises:
        DataError: rows that cannot be used, or a label that the adapter does not know.
        edgetune_runtime.EdgetuneError: a bundle or an adapter that cannot be used.
    """
    # rows are read as in training
    model = edgetune_runtime.load(path, split_special_tokens=False)
    name = adapter or model.default_adapter
    began = time.perf_counter()
    task = task_of(model, members_of(model, ensemble)[0] if ensemble else name)
    if task == "classify":
        metrics = classified(model, name, data, columns, ensemble)
    elif ensemble is not None:
        raise ConfigError("--ensemble is measured of classifiers; this one's members do not classify")
    elif task == "generate":
        metrics = generated(model, name, data, columns, write)
    else:
        metrics = {"tag": tagged, "regress": predicted}[task](model, name, data, columns)
    metrics["rows_per_second"] = metrics["rows"] / (time.perf_counter() - began)
    return metrics


def task_of(model: edgetune_runtime.Model, name: str | None) -> str:
    """The adapter's; the bundle's for a name that is not there, which the runtime refuses."""
    return model.adapters[name].task if name is not None and name in model.adapters else model.task


def measured_task(
    model: edgetune_runtime.Model, name: str | None, task: str, data: str | Path, columns: Mapping[str, str] | None
) -> dict[str, float]:
    """As a comparison asks: the metrics of one task."""
    if task == "generate":
        return generated(model, name, data, columns, 0)
    return {"classify": classified, "tag": tagged, "regress": predicted}[task](model, name, data, columns)


def classified(
    model: edgetune_runtime.Model,
    name: str | None,
    data: str | Path,
    columns: Mapping[str, str] | None,
    ensemble: str | None = None,
) -> dict[str, float]:
    members = members_of(model, ensemble) if ensemble else ()
    name = members[0] if members else name
    if name is None:
        raise ConfigError("the bundle has no adapter, so it knows no labels; add one with edgetune add-adapter")
    rows = read_rows(data, task="classify", columns=columns)
    if name in model.adapters:  # a wrong name is the runtime's to refuse: it knows the right ones
        label_ids(rows, model.adapters[name].labels, data)
    texts = [text_of(row) for row in rows]
    team = ensemble if ensemble in model.ensembles else list(members)
    answers = model.classify(texts, ensemble=team) if team else model.classify(texts, adapter=name)
    expected, got = [row.label for row in rows], [answer.label for answer in answers]
    loss = -sum(math.log(max(answer.scores[row.label], 1e-45)) for answer, row in zip(answers, rows))
    votes = isinstance(team, str) and model.ensembles[team].combine == "vote"
    return {
        "rows": len(rows),
        **({} if votes else {"loss": loss / len(rows)}),  # shares of votes are no probabilities
        **class_metrics(expected, got),
        **{f"accuracy of {member}": accuracy_of(model, member, texts, expected) for member in members},
    }


def members_of(model: edgetune_runtime.Model, ensemble: str) -> tuple[str, ...]:
    """The members of an ensemble of the bundle's, or those that `A,B,C` lists."""
    if ensemble in model.ensembles:
        return model.ensembles[ensemble].adapters
    return tuple(name.strip() for name in ensemble.split(","))


def accuracy_of(model: edgetune_runtime.Model, name: str, texts: list[Any], expected: Sequence[str]) -> float:
    answers: Any = model.classify(texts, adapter=name)
    return accuracy(expected, [answer.label for answer in answers])


def tagged(
    model: edgetune_runtime.Model, name: str | None, data: str | Path, columns: Mapping[str, str] | None
) -> dict[str, float]:
    """Words are passed as the rows have them."""
    rows = read_rows(data, task="tag", columns=columns)
    if name is None:
        raise ConfigError("the bundle has no adapter, so it knows no tags; add one with edgetune add-adapter")
    labels = model.adapters[name].labels if name in model.adapters else ()
    if labels:
        tag_ids(rows, labels, data)
    answers: Any = model.tag([row.tokens for row in rows], adapter=name)
    metrics = tag_metrics([row.tags for row in rows], [answer.tags for answer in answers], labels)
    return {"rows": len(rows), **metrics}


def predicted(
    model: edgetune_runtime.Model, name: str | None, data: str | Path, columns: Mapping[str, str] | None
) -> dict[str, float]:
    rows = read_rows(data, task="regress", columns=columns)
    if name is None:
        raise ConfigError("the bundle has no adapter, so it predicts nothing; add one with edgetune add-adapter")
    answers: Any = model.regress([text_of(row) for row in rows], adapter=name)
    metrics = number_metrics([row.score for row in rows], [answer.value for answer in answers])
    return {"rows": len(rows), "loss": metrics["mse"], **metrics}


def text_of(row: LabelledText | ScoredText) -> str | tuple[str, str]:
    """What the runtime takes."""
    return row.text if row.text_pair is None else (row.text, row.text_pair)


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
    metrics = with_perplexity({"rows": len(rows), "loss": total / count})
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
