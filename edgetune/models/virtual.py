"""What an adapter puts around the text."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from edgetune.models.attention import KeyValue


def longest(layers: list[KeyValue] | None) -> int:
    """P of the layer that has the most."""
    return max((key.shape[2] for key, _ in layers), default=0) if layers else 0


@dataclass(frozen=True)
class Virtual:
    """Virtual tokens: prefix first, then prompt, then the text, then the suffix.

    Attributes:
        prompt: `[B or 1, P, H]`, joined to the input embeddings in front of the text.
        prefix: keys and values `[B or 1, K, P_l, D]` of every layer, in the order in which layers attend; of an
            encoder–decoder the encoder's. A layer that has fewer than the longest has them next to the text.
        decoder, cross: the same for an encoder–decoder's decoder: in front of its own, and of those that it has of the
            encoder's states.
        suffix: `[B or 1, Q, H]`, vectors of the token ids V, V + 1 …, which stand where the text ends.
    """

    prompt: Float[Tensor, "B P H"] | None = None
    prefix: list[KeyValue] | None = None
    decoder: list[KeyValue] | None = None
    cross: list[KeyValue] | None = None
    suffix: Float[Tensor, "B Q H"] | None = None

    @property
    def prefix_length(self) -> int:
        return longest(self.prefix)

    @property
    def prompt_length(self) -> int:
        return self.prompt.shape[1] if self.prompt is not None else 0

    @property
    def suffix_length(self) -> int:
        """Q."""
        return self.suffix.shape[1] if self.suffix is not None else 0

    @property
    def length(self) -> int:
        """P: positions taken in front of the text."""
        return self.prefix_length + self.prompt_length

    @property
    def tokens(self) -> int:
        """All positions taken, of the place that has the most."""
        return max(self.length + self.suffix_length, longest(self.decoder), longest(self.cross))

    @property
    def is_uneven(self) -> bool:
        """The prefix is longer in some layers than in others."""
        return any(key.shape[2] != self.prefix_length for key, _ in self.prefix or ())


NOTHING = Virtual()
