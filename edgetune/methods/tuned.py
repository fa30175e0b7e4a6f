"""A base with one adapter's virtual tokens and head: what training optimises and what an export must reproduce."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from edgetune.config import Pooling
from edgetune.methods.head import LinearHead, first_seen, pooled
from edgetune.methods.joined import Soft
from edgetune.methods.scaled import ScaledHead
from edgetune.methods.words import LabelWords
from edgetune.models.base import Base
from edgetune.models.forward import full_mask, hidden_states, logits_at, loss_at, read_states, with_prompt_as_past
from edgetune.models.forward_pairs import pair_logits_at
from edgetune.models.suffix import with_suffix
from edgetune.models.virtual import NOTHING, Virtual


class Tuned(torch.nn.Module):
    """The learned parts around a frozen base. Without virtual tokens and head it is the base itself."""

    def __init__(
        self,
        base: Base,
        soft: Soft | None,
        head: LinearHead | ScaledHead | None = None,
        pooling: Pooling = "mean",
        *,
        labels: Sequence[str] = (),
        words: LabelWords | None = None,
    ) -> None:
        super().__init__()
        self.base, self.soft, self.head = base, soft, head
        self.pooling: Pooling = pooling
        self.labels, self.words = tuple(labels), words

    def virtual(self) -> Virtual:
        return NOTHING if self.soft is None else self.soft.virtual()

    def class_logits(self, input_ids: Int[Tensor, "B T"], text_mask: Int[Tensor, "B T"]) -> Float[Tensor, "B *each C"]:
        """Scores of the classes, of each token where the pooling is "each"; rows are right-padded."""
        if self.base.kind == "decoder":
            return self.word_logits(input_ids, text_mask)
        assert self.head is not None
        virtual = self.virtual()
        ids, mask = with_suffix(input_ids, text_mask, virtual.suffix_length, self.base.vocab_size)
        mask = full_mask(mask, virtual)
        if self.pooling == "start":
            whole = read_states(self.base, ids, mask, virtual)
            return self.head(first_seen(whole, mask[:, virtual.prefix_length :]))
        hidden = hidden_states(self.base, ids, mask, virtual)[:, : input_ids.shape[1]]
        return self.text_scores(hidden, input_ids, text_mask)

    def text_scores(
        self, hidden: Float[Tensor, "B T H"], input_ids: Int[Tensor, "B T"], text_mask: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B *each C"]:
        """The head's scores of the states of texts, for every pooling but "start"."""
        assert self.head is not None
        seen = (input_ids == self.base.mask_token_id).long() if self.pooling == "mask" else text_mask
        return self.head(pooled(hidden, seen, self.pooling))

    def word_logits(self, input_ids: Int[Tensor, "B T"], text_mask: Int[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        """A decoder's scores of the labels: of each the mean over its words, after a row's last position."""
        virtual = with_prompt_as_past(self.base, self.virtual())
        ids, mask = with_suffix(input_ids, text_mask, virtual.suffix_length, self.base.vocab_size)
        last = torch.arange(ids.shape[1], device=ids.device) == mask.sum(1, keepdim=True) - 1
        return self.label_scores(logits_at(self.base, ids, full_mask(mask, virtual), last, virtual))

    def label_scores(self, logits: Float[Tensor, "B V"]) -> Float[Tensor, "B C"]:
        """The vocabulary's scores → those of the labels."""
        assert self.words is not None
        return torch.stack([logits[:, list(ids)].mean(1) for ids in self.words.ids], dim=1)

    def token_logits(
        self, input_ids: Int[Tensor, "B T"], text_mask: Int[Tensor, "B T"], at: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "M V"]:
        """The vocabulary's scores for the token after each of the M positions where `at` is true.

        The ids of a suffix stand in a generator's rows already: behind the prompt, in front of the completion.
        """
        virtual = self.virtual()
        return logits_at(self.base, input_ids, full_mask(text_mask, virtual), at, virtual)

    def completion_loss(
        self,
        input_ids: Int[Tensor, "B T"],
        text_mask: Int[Tensor, "B T"],
        at: Bool[Tensor, "B T"],
        targets: Int[Tensor, "M"],
    ) -> Float[Tensor, ""]:
        """The summed cross-entropy of the M tokens after the positions where `at` is true."""
        virtual = with_prompt_as_past(self.base, self.virtual())
        return loss_at(self.base, input_ids, full_mask(text_mask, virtual), at, targets, virtual)

    def completion_logits(
        self,
        input_ids: Int[Tensor, "B T"],
        text_mask: Int[Tensor, "B T"],
        decoder_ids: Int[Tensor, "B U"],
        at: Bool[Tensor, "B U"],
    ) -> Float[Tensor, "M V"]:
        """The same for an encoder–decoder: after each of the M tokens of the decoder where `at` is true."""
        return pair_logits_at(self.base, input_ids, text_mask, decoder_ids, at, self.virtual())
