"""What an adapter puts in front of the text."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from edgetune.models.attention import KeyValue


@dataclass(frozen=True)
class Virtual:
    """Virtual tokens: prefix first, then prompt, then the text.

    Attributes:
        prompt: `[B or 1, P, H]`, joined to the input embeddings.
        prefix: keys and values `[B or 1, K, P, D]` of every layer, in the order in which layers attend; of an
            encoder–decoder the encoder's.
        decoder, cross: the same for an encoder–decoder's decoder: in front of its own, and of those that it has of the
            encoder's states.
    """

    prompt: Float[Tensor, "B P H"] | None = None
    prefix: list[KeyValue] | None = None
    decoder: list[KeyValue] | None = None
    cross: list[KeyValue] | None = None

    @property
    def prefix_length(self) -> int:
        return self.prefix[0][0].shape[2] if self.prefix else 0

    @property
    def prompt_length(self) -> int:
        return self.prompt.shape[1] if self.prompt is not None else 0

    @property
    def length(self) -> int:
        """P: positions taken in front of the text."""
        return self.prefix_length + self.prompt_length

    @property
    def tokens(self) -> int:
        """P of the place that has the most."""
        return max(self.length, *(x[0][0].shape[2] if x else 0 for x in (self.decoder, self.cross)))


NOTHING = Virtual()
