"""What a batch costs, and how a tuned model does on held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from edgetune_runtime.spans import OUTSIDE
from torch import Tensor
from torch.nn.functional import cross_entropy

from edgetune.methods.scaled import ScaledHead
from edgetune.methods.tuned import Tuned
from edgetune.metrics import class_metrics, number_metrics, tag_metrics, with_perplexity
from edgetune.training.batches import IGNORED, Batch, by_length
from edgetune.training.examples import Example


def loss(tuned: Tuned, batch: Batch) -> Tensor:
    """Mean cross-entropy over rows of a classifier, words of a tagger, completion tokens of a generator; of a
    regression the mean squared error of standardised values. Always fp32, whatever the base computes in.
    """
    if batch.targets is not None:
        return completion_loss(tuned, batch) / batch.losses
    answers = tuned.class_logits(batch.input_ids, batch.mask).float()
    return answer_loss(tuned, batch, answers) / batch.losses


def answer_loss(tuned: Tuned, batch: Batch, answers: Tensor) -> Tensor:
    """Summed over rows, or over words for tags; `answers` are `[B, C]`, or `[B, T, C]`."""
    if batch.labels is not None:
        return cross_entropy(answers, batch.labels, reduction="sum")
    if batch.tags is not None:
        return cross_entropy(answers.flatten(0, 1), batch.tags.flatten(), ignore_index=IGNORED, reduction="sum")
    assert batch.values is not None
    deviation = tuned.head.deviation if isinstance(tuned.head, ScaledHead) else 1.0
    return ((answers[:, 0] - batch.values) / deviation).square().sum()


def completion_loss(tuned: Tuned, batch: Batch) -> Tensor:
    """Summed over the completions' tokens."""
    assert batch.predicts is not None and batch.targets is not None
    if batch.decoder_ids is not None:
        logits = tuned.completion_logits(batch.input_ids, batch.mask, batch.decoder_ids, batch.predicts)
        return cross_entropy(logits.float(), batch.targets, reduction="sum")
    return tuned.completion_loss(batch.input_ids, batch.mask, batch.predicts, batch.targets)


@torch.no_grad()
def measured(tuned: Tuned, examples: Sequence[Example], batch_size: int = 32) -> dict[str, float]:
    """`loss` per row, word or completion token, and the metrics of the task; of a regression `loss` is `mse`."""
    total, count = 0.0, 0
    answers: list[Any] = [None] * len(examples)
    for indices, batch in by_length(examples, batch_size, tuned.base.pad_token_id):
        if batch.targets is not None:
            total += completion_loss(tuned, batch).item()
        else:
            logits = tuned.class_logits(batch.input_ids, batch.mask)
            total += answer_loss(tuned, batch, logits).item()
            for i, of_row in zip(indices, logits):
                answers[i] = answer_of(tuned, examples[i], of_row)
        count += batch.losses
    return metrics_of(tuned, examples, answers, total / count)


def metrics_of(tuned: Tuned, examples: Sequence[Example], answers: Sequence[Any], loss: float) -> dict[str, float]:
    """The mean `loss` with the metrics of the task, of the answers to its examples; a generator has none."""
    first, mean = examples[0], {"loss": loss}
    if first.label is not None:
        return {**mean, **class_metrics([example.label for example in examples], answers)}
    if first.tags:
        expected = [[tuned.labels[tag] for tag in example.tags] for example in examples]
        return {**mean, **tag_metrics(expected, answers, tuned.labels)}
    if first.value is not None:
        metrics = number_metrics([example.value or 0.0 for example in examples], answers)
        return {"loss": metrics["mse"], **metrics}
    return with_perplexity(mean)


def answer_of(tuned: Tuned, example: Example, logits: Tensor) -> Any:
    """Of logits `[C]` the class or the number, of `[T, C]` the words' tags; a word that was not seen is outside."""
    if example.value is not None:
        return logits[0].item()
    if not example.tags:
        return int(logits.argmax())
    unseen = OUTSIDE if OUTSIDE in tuned.labels else tuned.labels[0]
    best = logits.argmax(-1).tolist()
    return [unseen if token < 0 else tuned.labels[best[token]] for token in example.first]
