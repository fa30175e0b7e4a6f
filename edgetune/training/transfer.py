"""Another adapter as the start of a run: its virtual tokens, and its head where it is for the same labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from edgetune.adapter import load_adapter, tuned_from
from edgetune.config import TrainConfig
from edgetune.methods.head import LinearHead
from edgetune.methods.tuned import Tuned
from edgetune.models.base import Base
from edgetune.models.virtual import Virtual


@dataclass(frozen=True)
class Source:
    """A finished adapter on its base."""

    tuned: Tuned
    labels: tuple[str, ...]

    def virtual(self) -> Virtual:
        return self.tuned.virtual()


def transferred(base: Base, config: TrainConfig) -> Source | None:
    """The adapter that `init_adapter` names; None for any other start.

    Raises:
        AdapterError: it cannot be read.
        BaseMismatchError: it was tuned on another base.
    """
    if config.init != "adapter" or config.init_adapter is None:
        return None
    adapter = load_adapter(config.init_adapter)
    return Source(tuned_from(base, adapter), adapter.labels)


@torch.no_grad()
def take_head(head: LinearHead, source: Source, labels: Sequence[str]) -> None:
    """The source's head becomes the start of `head`, where both are of one form and for the same labels."""
    theirs = source.tuned.head
    if theirs is None or type(theirs) is not type(head) or set(source.labels) != set(labels):
        return
    order = [source.labels.index(label) for label in labels]
    own, given = dict(head.named_parameters()), dict(theirs.named_parameters())
    if any(own[name].shape != x.shape for name, x in given.items()):
        return
    if getattr(head, "activation", None) != getattr(theirs, "activation", None):
        return
    for name, x in given.items():
        own[name].copy_(x if name.startswith("dense.") else x[order])
