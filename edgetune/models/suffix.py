"""Virtual tokens behind the text: ids from V on, V being the vocabulary's size, that select learned vectors.

An id stands right behind its row's text, with no padding between, so that positions and windows count it as text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


def suffix_ids(count: int, vocab_size: int) -> list[int]:
    """V … V + Q − 1."""
    return list(range(vocab_size, vocab_size + count))


def with_suffix(
    input_ids: Int[Tensor, "B T"], mask: Int[Tensor, "B T"], count: Any, vocab_size: int
) -> tuple[Int[Tensor, "B TQ"], Int[Tensor, "B TQ"]]:
    """`[B, T]` → `[B, T + Q]`: each row's text, its suffix right behind the last token that the mask shows, padding.

    Text columns stay where they are.
    """
    if not count:
        return input_ids, mask
    columns = torch.arange(input_ids.shape[1] + count, device=input_ids.device)
    end = (mask * columns[1 : 1 + input_ids.shape[1]]).amax(1, keepdim=True)
    place = columns[None] - end
    is_suffix = (place >= 0) & (place < count)
    wide_ids, wide_mask = (torch.nn.functional.pad(x, (0, count)) for x in (input_ids, mask))
    return torch.where(is_suffix, vocab_size + place, wide_ids), torch.where(is_suffix, 1, wide_mask)


def with_suffix_vectors(
    table: Callable[[Tensor], Tensor], input_ids: Int[Tensor, "B T"], suffix: Float[Tensor, "R Q E"], vocab_size: int
) -> Float[Tensor, "B T E"]:
    """The table's vectors, and where an id is V + q the row's q-th of the suffix; `suffix` has a row or one for all."""
    (rows, count, width), is_suffix = suffix.shape, input_ids >= vocab_size
    text = table(input_ids.clamp(max=vocab_size - 1))
    index = (input_ids - vocab_size).clamp(min=0, max=count - 1)
    if rows != 1:
        index = index + torch.arange(rows, device=index.device)[:, None] * count
    vectors = torch.nn.functional.embedding(index, suffix.reshape(rows * count, width))
    return torch.where(is_suffix[..., None], vectors, text)
