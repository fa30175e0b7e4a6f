"""The learned parts under AdamW: one step at a time, the best values kept, whole as a state and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from edgetune.config import TrainConfig
from edgetune.methods.tuned import Tuned
from edgetune.training.batches import Batch
from edgetune.training.objective import loss
from edgetune.training.precision import products_in, warn_of_software
from edgetune.training.state import joined, moments, named, part, set_moments, set_values, values

WHOLE = nullcontext()
"""Products in the precision of what is multiplied."""


class Learner:
    """Trains `tuned` in place. `best` is what `keep_best` last copied."""

    def __init__(self, tuned: Tuned, config: TrainConfig) -> None:
        self.tuned, self.config = tuned, config
        self.parameters = named(tuned)
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=config.peak_learning_rate, weight_decay=config.weight_decay
        )
        self.best: dict[str, Tensor] = {}
        device = tuned.base.model.device.type
        self.products = products_in(config.precision, tuned.base.model, device)
        warn_of_software(config.precision, device)

    def step(self, batches: Sequence[Batch], rate: float, number: int) -> float:
        """The loss over all batches, after one update with their joint gradient."""
        self.optimizer.zero_grad()
        with draws_of(self.config.seed, number):
            found = joint_gradient(self.tuned, batches, self.products)
        self.update(rate)
        return found

    def update(self, rate: float) -> None:
        """AdamW's step with the gradient that the parameters hold, clipped."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.config.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip_norm)
        self.optimizer.step()

    def keep_best(self) -> None:
        self.best = values(self.parameters)

    def leave_best(self) -> None:
        """The best values, where there was an evaluation, become those of `tuned`."""
        if self.best:
            set_values(self.parameters, self.best)

    def tensors(self) -> dict[str, Tensor]:
        """Named `learned/…`, `adamw/…` and, after an evaluation, `best/…`."""
        adamw = moments(self.parameters, self.optimizer)
        return joined(learned=values(self.parameters), adamw=adamw, best=self.best)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """As it was when `tensors` gave these."""
        set_values(self.parameters, part(tensors, "learned"))
        set_moments(self.parameters, self.optimizer, part(tensors, "adamw"))
        self.best = part(tensors, "best")


def joint_gradient(tuned: Tuned, batches: Sequence[Batch], products: AbstractContextManager[object] = WHOLE) -> float:
    """The loss over all batches; its gradient is added up in the parameters, that of one batch of all their rows.

    `products` surrounds each forward pass.
    """
    total, found = sum(batch.losses for batch in batches), 0.0
    for batch in batches:
        share = batch.losses / total
        with products:
            value = loss(tuned, batch)
        (value * share).backward()
        found += value.item() * share
    return found


@contextmanager
def draws_of(seed: int, step: int) -> Iterator[None]:
    """Random draws inside depend on seed and step alone, so there is no random state to keep; those outside go on."""
    with torch.random.fork_rng():
        torch.manual_seed(int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:8], "big"))
        yield
