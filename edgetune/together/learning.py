"""Many tasks' steps at once: one joint pass through the base, each task's own update as its own run would make it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Any

import torch

from edgetune.methods.tuned import Tuned
from edgetune.models.virtual import Virtual
from edgetune.together.passes import Found, as_read, found_in, mixing_key
from edgetune.together.rows import Part, Row, ids_around, parts_of, rows_of
from edgetune.together.stacks import Stacks
from edgetune.training.examples import Example
from edgetune.training.learner import WHOLE
from edgetune.training.objective import answer_of, metrics_of

Work = tuple[Tuned, Sequence[Example]]
"""A task and the rows that it has in a pass."""


def joint_gradients(works: Sequence[Work], products: AbstractContextManager[object] = WHOLE) -> list[float]:
    """Of each task the mean loss over its rows; the gradient of that goes to the task's parameters alone.

    `products` surrounds each forward pass.
    """
    with products:
        virtuals = as_read([tuned for tuned, _ in works])
    losses = [0.0] * len(works)
    for numbers in mixed(virtuals):
        tasks = [works[i][0] for i in numbers]
        stacks = Stacks([virtuals[i] for i in numbers])
        parts = list(parts_of(tasks[0].base, laid_out([works[i] for i in numbers])))
        totals = counted(parts, len(numbers))
        for part in parts:
            with products:
                found = found_in(part, tasks, stacks)
            means = [x.loss / totals[x.share.task] for x in found]
            torch.stack(means).sum().backward()
            stacks.add_up()
            for x, mean in zip(found, means):
                losses[numbers[x.share.task]] += mean.item()
        stacks.backward()
    return losses


@torch.no_grad()
def measured_together(works: Sequence[Work]) -> list[dict[str, float]]:
    """What `measured` gives for each task."""
    virtuals = as_read([tuned for tuned, _ in works])
    metrics: list[dict[str, float]] = [{}] * len(works)
    for numbers in mixed(virtuals):
        tasks = [works[i][0] for i in numbers]
        stacks = Stacks([virtuals[i] for i in numbers])
        totals, counts = [0.0] * len(numbers), [0] * len(numbers)
        answers: list[list[Any]] = [[None] * len(works[i][1]) for i in numbers]
        for part in parts_of(tasks[0].base, laid_out([works[i] for i in numbers])):
            for x in found_in(part, tasks, stacks):
                task = x.share.task
                totals[task] += x.loss.item()
                counts[task] += x.share.batch.losses
                for row, answer in answered(tasks[task], x):
                    answers[task][row.number] = answer
        for task, i in enumerate(numbers):
            tuned, examples = works[i]
            metrics[i] = metrics_of(tuned, examples, answers[task], totals[task] / max(1, counts[task]))
    return metrics


def answered(tuned: Tuned, found: Found) -> Iterator[tuple[Row, Any]]:
    if found.answers is not None:
        for row, of_row in zip(found.share.rows, found.answers):
            yield row, answer_of(tuned, row.example, of_row)


def mixed(virtuals: Sequence[Virtual]) -> Iterator[list[int]]:
    """The tasks' numbers, those together that can share a part."""
    keys = [mixing_key(x) for x in virtuals]
    for _, group in groupby(sorted(range(len(keys)), key=lambda i: keys[i]), key=lambda i: keys[i]):
        yield list(group)


def laid_out(works: Iterable[Work]) -> list[Row]:
    return [
        row
        for task, (tuned, examples) in enumerate(works)
        for row in rows_of(task, ids_around(tuned, tuned.virtual()), examples)
    ]


def counted(parts: Iterable[Part], tasks: int) -> list[int]:
    """What each task's loss is the mean of."""
    found = [0] * tasks
    for part in parts:
        for share in part.shares:
            found[share.task] += share.batch.losses
    return [max(1, count) for count in found]
