"""Virtual tokens of many tasks side by side, from which every row of a batch takes those of its task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from edgetune.models.attention import KeyValue
from edgetune.models.virtual import Virtual, longest

PLACES = ("prefix", "decoder", "cross")


class Stack:
    """One tensor a task, `[1, …]` each, equal but for the size of `dim`; a task may have none.

    Those shorter than `length` are filled with zeros: in front, or `behind` what there is. What rows
    receive as gradient is added up here, task by task, so that the graph in front of the tensors is walked once a step
    however many batches there are.
    """

    def __init__(self, sources: Sequence[Tensor | None], dim: int, length: int, *, behind: bool = False) -> None:
        self.sources, self.dim, self.behind = sources, dim, behind
        given = [x for x in sources if x is not None]
        shape = [len(sources), *given[0].shape[1:]]
        shape[dim] = length
        self.values = given[0].detach().new_zeros(shape)
        for own, source in self.pairs(self.values):
            own.copy_(source.detach())
        self.gradient: Tensor | None = None
        self.taken: list[tuple[Tensor, Tensor]] = []

    def pairs(self, whole: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each task that has one its part of `whole`, `[1, …]`, and its tensor."""
        for i, source in enumerate(self.sources):
            if source is not None:
                length = source.shape[self.dim]
                start = 0 if self.behind else whole.shape[self.dim] - length
                yield whole[i : i + 1].narrow(self.dim, start, length), source

    def rows(self, index: Tensor) -> Tensor:
        """`[B, …]`, for each row the tensor of its task."""
        found = self.values.index_select(0, index)
        if torch.is_grad_enabled():
            self.taken.append((index, found.requires_grad_()))
        return found

    def add_up(self) -> None:
        """The gradient of all rows taken since the last call goes to their tasks."""
        for index, rows in self.taken:
            if rows.grad is not None:
                if self.gradient is None:
                    self.gradient = torch.zeros_like(self.values)
                self.gradient.index_add_(0, index, rows.grad)
        self.taken.clear()


class Stacks:
    """The virtual tokens of several tasks, of one base and, in an encoder–decoder, of one length in the decoder."""

    def __init__(self, virtuals: Sequence[Virtual]) -> None:
        self.lengths = {place: [longest(getattr(x, place)) for x in virtuals] for place in PLACES}
        self.layers = {place: layer_stacks([getattr(x, place) for x in virtuals]) for place in PLACES}
        parts = [[x for x in (v.prompt, v.suffix) if x is not None] for v in virtuals]
        vectors = [torch.cat(x, 1) if x else None for x in parts]
        count = max(x.shape[1] for x in vectors if x is not None) if any(parts) else 0
        self.vectors = Stack(vectors, 1, count, behind=True) if count else None
        uneven = any(v.is_uneven for v in virtuals)
        self.lacking = torch.tensor([lacking(v, len(self.layers["prefix"])) for v in virtuals]) if uneven else None

    def virtual(self, index: Tensor) -> Virtual:
        """What the rows have, `index` `[B]` being their tasks: all vectors of a task as its suffix, whose ids stand
        where they belong, in front of the text as well."""
        layers = {
            place: [(key.rows(index), value.rows(index)) for key, value in stacks] or None
            for place, stacks in self.layers.items()
        }
        return Virtual(
            prefix=layers["prefix"], decoder=layers["decoder"], cross=layers["cross"],
            suffix=self.vectors.rows(index) if self.vectors else None,
        )  # fmt: skip

    def visible(self, place: str, index: Tensor) -> Tensor:
        """int64 `[B, P]`, which of a place's positions a row sees: the last ones."""
        lengths = torch.tensor(self.lengths[place])
        columns = torch.arange(int(lengths.max()))
        return (columns >= len(columns) - lengths[index][:, None]).long()

    @property
    def stacks(self) -> Iterator[Stack]:
        for layers in self.layers.values():
            for pair in layers:
                yield from pair
        if self.vectors:
            yield self.vectors

    def add_up(self) -> None:
        """Takes in what a batch's rows received."""
        for stack in self.stacks:
            stack.add_up()

    def backward(self) -> None:
        """On from the tasks' tensors to what is learned."""
        roots: list[Tensor] = []
        gradients: list[Tensor] = []
        for stack in self.stacks:
            if stack.gradient is not None:
                for gradient, source in stack.pairs(stack.gradient):
                    if source.requires_grad:
                        roots.append(source)
                        gradients.append(gradient)
        if roots:
            torch.autograd.backward(roots, gradients)


def layer_stacks(prefixes: Sequence[list[KeyValue] | None]) -> list[tuple[Stack, Stack]]:
    """Of each layer, keys and values `[1, K, P_l, D]` of the tasks that have any; all layers as long as the longest."""
    given = [x for x in prefixes if x]
    most = max(map(longest, given), default=0)
    layers = ([x[i] if x else (None, None) for x in prefixes] for i in range(len(given[0]) if given else 0))
    return [(Stack([k for k, _ in pairs], 2, most), Stack([v for _, v in pairs], 2, most)) for pairs in layers]


def lacking(virtual: Virtual, layers: int) -> list[int]:
    """Of each of L layers, how many of the task's positions it has not, the first ones."""
    return [virtual.prefix_length - key.shape[2] for key, _ in virtual.prefix or ()] or [0] * layers
