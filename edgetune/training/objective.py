"""What a batch costs, and how a tuned model does on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from edgetune_runtime.spans import OUTSIDE
from torch import Tensor
from torch.nn.functional import cross_entropy

from edgetune.methods.scaled import ScaledHead
from edgetune.methods.tuned import Tuned
from edgetune.metrics import class_metrics, number_metrics, tag_metrics, with_perplexity
from edgetune.training.batches import IGNORED, Batch, batch_of, by_length
from edgetune.training.examples import Example
from edgetune.training.processes import ALONE, Processes


def loss(tuned: Tuned, batch: Batch) -> Tensor:
    """Mean cross-entropy over rows of a classifier, words of a tagger, completion tokens of a generator; of a
    regression the mean squared error of standardised values. Always fp32, whatever the base computes in.
    """
    if batch.targets is not None:
        return completion_loss(tuned, batch) / max(batch.losses, 1)
    answers = tuned.class_logits(batch.input_ids, batch.mask).float()
    return answer_loss(tuned, batch, answers) / max(batch.losses, 1)


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
def measured(
    tuned: Tuned, examples: Sequence[Example], batch_size: int = 32, processes: Processes = ALONE
) -> dict[str, float]:
    """`loss` per row, word or completion token, and the metrics of the task; of a regression `loss` is `mse`.

    Of several processes each answers its share; the metrics are of all answers, and for all the same to the last bit.
    """
    losses: list[float] = []
    answered: dict[int, Any] = {}
    count, device = 0, tuned.base.model.device
    for indices, on_host in by_length(examples, batch_size, tuned.base.pad_token_id, processes):
        batch = on_host.to(device)
        if batch.targets is not None:
            losses.append(completion_loss(tuned, batch).item())
        else:
            logits = tuned.class_logits(batch.input_ids, batch.mask)
            losses.append(answer_loss(tuned, batch, logits).item())
            for i, of_row in zip(indices, logits):
                answered[i] = answer_of(tuned, examples[i], of_row)
        count += batch.losses
    if processes.sharding and len(losses) < -(-len(examples) // (batch_size * processes.count)):
        loss(tuned, batch_of(examples[:1], tuned.base.pad_token_id).to(device))  # the others have a batch more
    of_all = processes.of_all((losses, count, answered))
    total = math.fsum(x for losses, *_ in of_all for x in losses)
    count = sum(count for _, count, _ in of_all)
    answered = {i: answer for *_, answers in of_all for i, answer in answers.items()}
    return metrics_of(tuned, examples, [answered.get(i) for i in range(len(examples))], total / count)


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
