"""The head of a classifier over pooled hidden states: linear, or with a hidden layer in front."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from edgetune.config import Pooling

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "gelu": torch.nn.functional.gelu,
    "relu": torch.relu,
}
"""What may follow a head's hidden layer: BERT's pooler and RoBERTa have tanh, ELECTRA gelu, DistilBERT relu."""


def pooled(
    hidden: Float[Tensor, "B T H"], text_mask: Int[Tensor, "B T"], pooling: Pooling
) -> Float[Tensor, "B *each H"]:
    """One vector a row: the mean of its text, or its first token; with "each" all of them. Virtual tokens and padding
    do not count; with "mask" `text_mask` is 1 at the mask token alone."""
    if pooling == "each":
        return hidden
    if pooling == "first":
        return hidden[:, 0]
    weight = text_mask[..., None].to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1.0)


def first_seen(hidden: Float[Tensor, "B S H"], mask: Int[Tensor, "B S"]) -> Float[Tensor, "B H"]:
    """The pooling "start": each row's first position that is not masked, a prompt's first virtual token if it has one.

    What the classifiers of BERT and RoBERTa read under PEFT's prompt tuning.
    """
    first = mask * (torch.cumsum(mask, dim=1) == 1)
    return (hidden * first[..., None].to(hidden.dtype)).sum(1)


class LinearHead(torch.nn.Module):
    """`[B, H]` → `[B, C]`, or of each token. It starts at zero: an untrained head prefers no class."""

    def __init__(self, hidden_size: int, classes: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(classes, hidden_size))
        self.bias = torch.nn.Parameter(torch.zeros(classes))

    def forward(self, features: Float[Tensor, "B *each H"]) -> Float[Tensor, "B *each C"]:
        return torch.nn.functional.linear(features, self.weight, self.bias)


class MlpHead(LinearHead):
    """`[B, H]` → a hidden layer `[B, F]` → `[B, C]`; without a generator the hidden layer starts at zero too."""

    def __init__(
        self,
        hidden_size: int,
        classes: int,
        inner_size: int,
        activation: str = "tanh",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(inner_size, classes)
        self.activation = activation
        self.dense = torch.nn.Linear(hidden_size, inner_size, device="meta").to_empty(device="cpu")
        torch.nn.init.zeros_(self.dense.bias)
        torch.nn.init.zeros_(self.dense.weight)
        if generator is not None:
            torch.nn.init.uniform_(self.dense.weight, -(hidden_size**-0.5), hidden_size**-0.5, generator=generator)

    def forward(self, features: Float[Tensor, "B *each H"]) -> Float[Tensor, "B *each C"]:
        return super().forward(ACTIVATIONS[self.activation](self.dense(features)))


def head_from(tensors: dict[str, Tensor], activation: str) -> LinearHead | None:
    """The head that an adapter's tensors hold, if any."""
    own = {name.removeprefix("head."): x for name, x in tensors.items() if name.startswith("head.")}
    if not own:
        return None
    classes = len(own["weight"])
    if "dense.weight" in own:
        inner, size = own["dense.weight"].shape
        head: LinearHead = MlpHead(size, classes, inner, activation)
    else:
        head = LinearHead(own["weight"].shape[1], classes)
    head.load_state_dict(own)
    return head
