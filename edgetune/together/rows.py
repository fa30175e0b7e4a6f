"""Rows of several tasks in parts that go through the base at once: of like lengths, a task's rows side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from edgetune.methods.tuned import Tuned
from edgetune.models.base import Base
from edgetune.models.suffix import suffix_ids
from edgetune.models.virtual import Virtual
from edgetune.training.batches import Batch, batch_of
from edgetune.training.examples import Example
from edgetune.training.parts import TOKENS

MOST_TOKENS = 16384
"""Of a part on a device that `TOKENS` does not bound: a batch of many tasks may be of any size."""


@dataclass(frozen=True)
class Around:
    """Which ids a task puts around its texts: the vectors of its prompt and its suffix are the ids from V on.

    A decoder's prompt is none of them, since it goes in front as keys and values; and of a generator those of the
    suffix stand in the rows already.
    """

    front: tuple[int, ...] = ()
    behind: tuple[int, ...] = ()


def ids_around(tuned: Tuned, virtual: Virtual) -> Around:
    """`virtual` are the task's own."""
    base, prompt = tuned.base, virtual.prompt_length
    if base.kind == "decoder":
        return Around(behind=tuple(suffix_ids(virtual.suffix_length, base.vocab_size)) if tuned.words else ())
    ids = suffix_ids(prompt + virtual.suffix_length, base.vocab_size)
    return Around(tuple(ids[:prompt]), tuple(ids[prompt:]))


@dataclass(frozen=True)
class Row:
    """An example of task number `task`, with what the base reads of it.

    Attributes:
        number: tells it from the task's others.
        front: how many of `ids` stand in front of the text.
    """

    task: int
    number: int
    example: Example
    ids: list[int]
    front: int

    @property
    def width(self) -> int:
        return len(self.ids) + len(self.example.decoder_ids)


@dataclass(frozen=True)
class Share:
    """A task's rows of a part, and the same without virtual tokens."""

    task: int
    rows: Sequence[Row]
    batch: Batch

    @property
    def front(self) -> int:
        return self.rows[0].front


@dataclass(frozen=True)
class Part:
    """Right-padded rows.

    Attributes:
        input_ids, mask: int64 `[B, S]`, with ids from V on for vectors around the texts.
        tasks: int64 `[B]`, each row's.
    """

    input_ids: Tensor
    mask: Tensor
    tasks: Tensor
    shares: Sequence[Share]


def rows_of(task: int, around: Around, examples: Sequence[Example]) -> list[Row]:
    front, behind = around.front, around.behind
    return [Row(task, i, x, [*front, *x.input_ids, *behind], len(front)) for i, x in enumerate(examples)]


def parts_of(base: Base, rows: Sequence[Row]) -> Iterator[Part]:
    """All rows, the shortest first, as many in a part as fit at the width of its widest."""
    most = TOKENS.get(base.model.device.type, MOST_TOKENS)
    held: list[Row] = []
    for row in sorted(rows, key=lambda row: row.width):
        if held and row.width * (len(held) + 1) > most:
            yield part_of(base, held)
            held = []
        held.append(row)
    if held:
        yield part_of(base, held)


def part_of(base: Base, rows: Sequence[Row]) -> Part:
    pad, ordered = base.pad_token_id, sorted(rows, key=lambda row: row.task)
    length = max(len(row.ids) for row in ordered)
    ids = torch.tensor([row.ids + [pad] * (length - len(row.ids)) for row in ordered])
    mask = torch.tensor([[1] * len(row.ids) + [0] * (length - len(row.ids)) for row in ordered])
    shares = []
    for task, group in groupby(ordered, key=lambda row: row.task):
        of_task = list(group)
        shares.append(Share(task, of_task, batch_of([row.example for row in of_task], pad)))
    return Part(ids, mask, torch.tensor([row.task for row in ordered]), shares)
