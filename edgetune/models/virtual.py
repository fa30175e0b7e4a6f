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
        prefix: keys and values `[B or 1, K, P, D]` of every layer, in the order in which layers attend.
    """

    prompt: Float[Tensor, "B P H"] | None = None
    prefix: list[KeyValue] | None = None

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


NOTHING = Virtual()
