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
from edgetune.training.processes import ALONE, Processes
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

    def step(
        self,
        batches: Sequence[Batch],
        rate: float,
        number: int,
        processes: Processes = ALONE,
        losses: int | None = None,
    ) -> float:
        """The loss over all batches, after one update with their joint gradient.

        Of several processes each gives its own batches, and how many losses there are in all of theirs.
        """
        self.optimizer.zero_grad()
        with draws_of(self.config.seed, number):
            found = joint_gradient(self.tuned, batches, self.products, losses)
        if processes.count > 1:
            found = self.sum_gradients(found, processes)
        self.update(rate)
        return found

    def update(self, rate: float) -> None:
        """AdamW's step with the gradient that the parameters hold, clipped."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.config.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip_norm)
        self.optimizer.step()

    def start_from(self, processes: Processes) -> None:
        """The first values are those of the process 0: other machines may have computed other last bits."""
        of_main = processes.from_main(lambda: {name: x.cpu() for name, x in values(self.parameters).items()})
        if not processes.is_main:
            set_values(self.parameters, of_main)

    def sum_gradients(self, loss: float, processes: Processes) -> float:
        """Everybody's gradients become the sum of all, and the loss as well: one tensor, in float64, in which the order
        of adding does not show."""
        every = list(self.parameters.values())
        mine = [torch.zeros_like(p) if p.grad is None else p.grad for p in every]
        flat = torch.cat([x.flatten().double() for x in (mine[0].new_tensor([loss]), *mine)])
        flat = processes.summed(flat)
        whole, *parts = flat.split([1, *(p.numel() for p in every)])
        for parameter, x in zip(every, parts):
            parameter.grad = x.view_as(parameter).to(parameter.dtype)
        return whole.item()

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


def joint_gradient(
    tuned: Tuned,
    batches: Sequence[Batch],
    products: AbstractContextManager[object] = WHOLE,
    losses: int | None = None,
) -> float:
    """The loss over all batches; its gradient is added up in the parameters, that of one batch of all their rows.

    `products` surrounds each forward pass. With `losses` it is these batches' part of the mean of so many.
    """
    total, found = sum(batch.losses for batch in batches) if losses is None else losses, 0.0
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
