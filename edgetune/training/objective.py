"""What a batch costs, and how a tuned model does on held-out rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from edgetune.config import Precision
from edgetune.methods.tuned import Tuned
from edgetune.training.batches import Batch, by_length
from edgetune.training.examples import Example
from edgetune.training.precision import computing_in


def loss(tuned: Tuned, batch: Batch, precision: Precision = "fp32") -> Tensor:
    """Mean cross-entropy: over rows for a classifier, over the completions' tokens for a generator.

    With bf16 the logits come out of a forward pass in bf16; the loss itself is always fp32.
    """
    with computing_in(precision, tuned.base.model.device.type):
        if batch.labels is not None:
            return cross_entropy(tuned.class_logits(batch.input_ids, batch.mask).float(), batch.labels)
        return completion_loss(tuned, batch) / len(batch.targets)  # type: ignore[arg-type]


def completion_loss(tuned: Tuned, batch: Batch) -> Tensor:
    """Summed over the completions' tokens."""
    assert batch.predicts is not None and batch.targets is not None
    if batch.decoder_ids is not None:
        logits = tuned.completion_logits(batch.input_ids, batch.mask, batch.decoder_ids, batch.predicts)
        return cross_entropy(logits.float(), batch.targets, reduction="sum")
    return tuned.completion_loss(batch.input_ids, batch.mask, batch.predicts, batch.targets)


@torch.no_grad()
def measured(tuned: Tuned, examples: Sequence[Example], batch_size: int = 32) -> dict[str, float]:
    """`loss` per row and `accuracy` of a classifier; `loss` per completion token of a generator."""
    total, count, right = 0.0, 0, 0
    for _, batch in by_length(examples, batch_size, tuned.base.pad_token_id):
        if batch.labels is not None:
            logits = tuned.class_logits(batch.input_ids, batch.mask)
            total += cross_entropy(logits, batch.labels, reduction="sum").item()
            right += int((logits.argmax(-1) == batch.labels).sum())
            count += batch.rows
        else:
            total += completion_loss(tuned, batch).item()
            count += batch.losses
    classifier = examples[0].label is not None
    return {"loss": total / count, **({"accuracy": right / count} if classifier else {})}


def better(new: dict[str, float], old: dict[str, float] | None) -> bool:
    """More accuracy, then less loss."""
    rank = lambda m: (m.get("accuracy", 0.0), -m["loss"])  # noqa: E731
    return old is None or rank(new) > rank(old)
