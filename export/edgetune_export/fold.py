"""An encoder with its adapter folded in: a drop-in for an ordinary export of the same model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx_ir
import torch
from torch import Tensor

from edgetune.config import Pooling
from edgetune.methods.tuned import Tuned
from edgetune.models.base import Base
from edgetune.models.forward import read_states
from edgetune.models.suffix import with_suffix
from edgetune.models.virtual import Virtual
from edgetune_export.operators import ENCODER
from edgetune_export.trace import AUTO, class_features, declared, exported, traced_with


class FoldedEncoder(torch.nn.Module):
    """ids, mask → class logits, of every token where the pooling is "each".

    The prompt is more rows of the embedding table, the prefix constant keys and values, a suffix constant vectors
    behind each row's last token.
    """

    prompt_ids: Tensor

    def __init__(self, tuned: Tuned) -> None:
        super().__init__()
        assert tuned.head is not None
        self.base, self.model = tuned.base, tuned.base.model
        self.pooling: Pooling = tuned.pooling
        virtual = tuned.virtual()
        self.length, self.prompt_length = virtual.length, virtual.prompt_length
        self.suffix = None if virtual.suffix is None else virtual.suffix.detach()
        self.prompt_ids = self.base.vocab_size + torch.arange(virtual.prompt_length)
        self.prefix = [(key.detach(), value.detach()) for key, value in virtual.prefix or ()]
        self.head = tuned.head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        batch = input_ids.shape[0]
        prefix = [(key.expand(batch, -1, -1, -1), value.expand(batch, -1, -1, -1)) for key, value in self.prefix]
        virtual = Virtual(prefix=prefix or None, suffix=self.suffix)
        ids, mask = with_suffix(input_ids, attention_mask, virtual.suffix_length, self.base.vocab_size)
        text_ids = ids
        mask = torch.cat([attention_mask.new_ones(batch, self.length), mask], dim=1)
        if self.prompt_length:
            ids = torch.cat([self.prompt_ids.expand(batch, -1), ids], dim=1)
        hidden = read_states(self.base, ids, mask, virtual)
        features = class_features(self.base, hidden, text_ids, mask, self.pooling, has_suffix=self.suffix is not None)
        return self.head(features[:, : input_ids.shape[1]] if self.pooling == "each" else features)


@contextmanager
def extended_embeddings(base: Base, prompt: Tensor | None) -> Iterator[None]:
    """Inside, token ids V … V + P − 1 look the prompt's vectors up."""
    table: Any = base.embeddings
    if prompt is None:
        yield
        return
    old = table.weight
    rows = torch.cat([old.detach(), prompt.detach()])
    table.weight = torch.nn.Parameter(rows, requires_grad=False)
    try:
        yield
    finally:
        table.weight = old


def folded_encoder_graph(tuned: Tuned) -> onnx_ir.Model:
    """The standalone form of an encoder (BUNDLE.md)."""
    prompt, folded = tuned.virtual().prompt, FoldedEncoder(tuned)
    arguments = (torch.ones(2, 4, dtype=torch.int64), torch.ones(2, 4, dtype=torch.int64))
    dynamic = ({0: AUTO, 1: AUTO}, {0: AUTO, 1: AUTO})
    with extended_embeddings(tuned.base, None if prompt is None else prompt[0]), traced_with(tuned.base, ENCODER):
        model = exported(folded, arguments, ["input_ids", "attention_mask"], ["logits"], dynamic)
    classes = tuned.head.weight.shape[0]  # type: ignore[union-attr]
    logits = ["B", "T", classes] if tuned.pooling == "each" else ["B", classes]
    declared(model, {"input_ids": ["B", "T"], "attention_mask": ["B", "T"], "logits": logits})
    return model
