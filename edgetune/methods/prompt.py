"""Prompt tuning: P learned vectors joined to the input embeddings (Lester et al. 2021)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from edgetune.models.virtual import Virtual


class Prompt(torch.nn.Module):
    """`[P, H]` vectors, the first `before` of them in front of the text, the others behind it; by default all in front.

    Vectors behind a text are the `suffix_prompt` of google-research/prompt-tuning; between prompt and completion of a
    generator they are an infix (Li & Liang 2021, section 7.3). P-tuning's templates have some on both sides (Liu et al.
    2021).
    """

    def __init__(self, start: Float[Tensor, "P H"], before: int | None = None) -> None:
        super().__init__()
        self.embeds = torch.nn.Parameter(start.clone())
        self.before = len(start) if before is None else before

    def virtual(self) -> Virtual:
        return self.placed(self.embeds)

    def placed(self, rows: Float[Tensor, "P H"]) -> Virtual:
        """As many vectors, where this prompt's stand."""
        front, behind = rows[None, : self.before], rows[None, self.before :]
        return Virtual(prompt=front if front.shape[1] else None, suffix=behind if behind.shape[1] else None)


def tokens_before(position: str, length: int) -> int:
    """Of P vectors those in front of the text: all, none, or the larger half."""
    return {"before": length, "after": 0, "both": (length + 1) // 2}[position]
