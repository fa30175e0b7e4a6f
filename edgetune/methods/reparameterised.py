"""Virtual tokens computed by a small network while they are tuned; only what it gives is kept.

`mlp` is the reparameterisation of Li & Liang (2021, section 4.3), `lstm` the prompt encoder of P-tuning
(Liu et al. 2021, section 3.2). The network's last layer starts at zero, so that tuning
starts from the virtual tokens it was given.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.models.virtual import Virtual


class Reparameterised(torch.nn.Module):
    """`soft`'s values plus a network's output over learned seeds `[P, size]`, one for each virtual token."""

    def __init__(self, soft: Prompt | Prefix, kind: str, size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.start = soft.requires_grad_(False)
        width = flat(self.start).shape[1]
        self.seeds = torch.nn.Parameter(torch.randn(flat(self.start).shape[0], size, generator=generator))
        self.lstm = torch.nn.LSTM(size, size, bidirectional=True, batch_first=True) if kind == "lstm" else None
        self.inner = torch.nn.Linear(2 * size if self.lstm else size, size)
        self.outer = torch.nn.Linear(size, width)
        for weight in self.parameters():
            if weight.requires_grad and weight is not self.seeds:
                fan_in = weight.shape[-1] if weight.dim() > 1 else size
                torch.nn.init.uniform_(weight, -(fan_in**-0.5), fan_in**-0.5, generator=generator)
        torch.nn.init.zeros_(self.outer.weight)
        torch.nn.init.zeros_(self.outer.bias)

    def virtual(self) -> Virtual:
        seeds = self.seeds[None]
        if self.lstm is not None:
            seeds = self.lstm(seeds)[0]
        moved = flat(self.start) + self.outer(torch.tanh(self.inner(seeds)))[0]
        return shaped_like(self.start, moved)


def flat(soft: Prompt | Prefix) -> Float[Tensor, "P width"]:
    """All values of each virtual token in one row: H of a prompt, K·D of each part of a prefix.

    Of layers that are shorter than the longest the first rows are 0.
    """
    if isinstance(soft, Prompt):
        return soft.embeds
    rows = [torch.nn.functional.pad(x, (0, 0, soft.length - x.shape[1], 0)) for x in soft.parts]
    return torch.cat([x.permute(1, 0, 2).flatten(1) for x in rows], dim=1)


def shaped_like(soft: Prompt | Prefix, rows: Float[Tensor, "P width"]) -> Virtual:
    """The inverse of `flat`."""
    if isinstance(soft, Prompt):
        return soft.placed(rows)
    widths = [x.shape[0] * x.shape[2] for x in soft.parts]
    return soft.placed([
        columns.unflatten(1, (x.shape[0], x.shape[2])).permute(1, 0, 2)[None, :, soft.length - x.shape[1] :]
        for x, columns in zip(soft.parts, rows.split(widths, dim=1))
    ])  # fmt: skip
