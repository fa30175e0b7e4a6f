"""Batches of like lengths in a seeded order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from edgetune.training.examples import Example
from edgetune.training.parts import parts
from edgetune.training.processes import ALONE, Processes

T = TypeVar("T")

IGNORED = -100
"""What torch's cross-entropy leaves out."""

POOL = 16
"""Batches that are drawn together and sorted by length: padding falls by more than half, the order stays random."""


@dataclass(frozen=True)
class Batch:
    """Right-padded rows.

    Attributes:
        input_ids, mask: int64 `[B, T]`.
        labels: int64 `[B]` for classifiers.
        values: float `[B]` for regressions.
        tags: int64 `[B, T]`, IGNORED where no word begins.
        predicts: bool `[B, T]`, true where the next token carries loss, for generators; `[B, U]` with `decoder_ids`.
        targets: int64 `[M]`, those next tokens, row by row.
        decoder_ids: int64 `[B, U]`, what the decoder of an encoder–decoder reads.
        idle: it goes through the base for the sake of other processes, and counts for nothing.
    """

    input_ids: Tensor
    mask: Tensor
    labels: Tensor | None = None
    values: Tensor | None = None
    tags: Tensor | None = None
    predicts: Tensor | None = None
    targets: Tensor | None = None
    decoder_ids: Tensor | None = None
    idle: bool = False

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        if device.type == "cpu":
            return self
        held: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {name: x.to(device) for name, x in held.items() if isinstance(x, Tensor)}
        return replace(self, **moved)

    @property
    def rows(self) -> int:
        return 0 if self.idle else self.input_ids.shape[0]

    @property
    def losses(self) -> int:
        """What the batch's loss is the mean of: rows, words that are tagged, completion tokens of a generator."""
        if self.idle:
            return 0
        if self.tags is not None:
            return max(1, int((self.tags != IGNORED).sum()))
        return self.rows if self.targets is None else len(self.targets)


def batch_of(examples: Sequence[Example], pad_token_id: int) -> Batch:
    length = max(len(e.input_ids) for e in examples)
    ids = torch.tensor([e.input_ids + [pad_token_id] * (length - len(e.input_ids)) for e in examples])
    mask = torch.tensor([[1] * len(e.input_ids) + [0] * (length - len(e.input_ids)) for e in examples])
    if examples[0].label is not None:
        return Batch(ids, mask, labels=torch.tensor([e.label for e in examples]))
    if examples[0].value is not None:
        return Batch(ids, mask, values=torch.tensor([e.value for e in examples]))
    if examples[0].tags:
        return Batch(ids, mask, tags=first_token_tags(examples, length))
    if examples[0].decoder_ids:
        written = max(len(e.decoder_ids) for e in examples)
        fill = [written - len(e.decoder_ids) for e in examples]
        decoder_ids = torch.tensor([[*e.decoder_ids, *[pad_token_id] * n] for e, n in zip(examples, fill)])
        predicts = torch.tensor([[True] * len(e.targets) + [False] * n for e, n in zip(examples, fill)])
        targets = torch.tensor([target for e in examples for target in e.targets])
        return Batch(ids, mask, predicts=predicts, targets=targets, decoder_ids=decoder_ids)
    predicted = torch.tensor([[*e.completion, *[False] * (length - len(e.completion))] for e in examples])
    predicts = torch.nn.functional.pad(predicted[:, 1:], (0, 1))
    return Batch(ids, mask, predicts=predicts, targets=ids[predicted])


def first_token_tags(examples: Sequence[Example], length: int) -> Tensor:
    """`[B, length]`: each word's tag at its first token."""
    tags = torch.full((len(examples), length), IGNORED)
    for row, example in zip(tags, examples):
        for token, tag in zip(example.first, example.tags):
            if token >= 0:
                row[token] = tag
    return tags


def step_batches(
    examples: Sequence[Example], batch_size: int, pad_token_id: int, device: str | None = None
) -> list[Batch]:
    """A step's rows as batches of `batch_size`, the last one smaller. With a kind of device each is in parts that suit
    it.
    """
    batches = (examples[i : i + batch_size] for i in range(0, len(examples), batch_size))
    return [batch_of(part, pad_token_id) for batch in batches for part in parts(batch, device)]


def step_rows(examples: Sequence[Example], count: int, rng: random.Random) -> Iterator[list[int]]:
    """Indices of `count` rows of like lengths, the shortest first; every row once before any comes again."""
    while True:
        epoch = list(range(len(examples)))
        rng.shuffle(epoch)
        for start in range(0, len(epoch), POOL * count):
            pool = epoch[start : start + POOL * count]
            yield from like_lengths(pool, count, lambda i: len(examples[i].input_ids), rng)


def like_lengths(pool: Sequence[T], count: int, length: Callable[[T], int], rng: random.Random) -> list[list[T]]:
    """The pool in groups of `count` rows that are about as long, the shortest first in each, groups in any order."""
    by_size = sorted(pool, key=length)
    groups = [by_size[i : i + count] for i in range(0, len(by_size), count)]
    rng.shuffle(groups)
    return groups


def by_length(
    examples: Sequence[Example], batch_size: int, pad_token_id: int, processes: Processes = ALONE
) -> Iterator[tuple[list[int], Batch]]:
    """Every example once, with its index, the longest last; of several processes each has its share of the batches."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].input_ids))
    for indices in processes.share([order[i : i + batch_size] for i in range(0, len(order), batch_size)]):
        yield indices, batch_of([examples[i] for i in indices], pad_token_id)
