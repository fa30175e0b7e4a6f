"""What the rest of a run depends on: how far it has come, what it has learned, AdamW's moments, the best so far."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.optim import Optimizer

from edgetune.methods.tuned import Tuned
from edgetune.metrics import better
from edgetune.training.examples import Example

Parameters = dict[str, torch.nn.Parameter]


@dataclass(frozen=True)
class Course:
    """How far a run has come.

    Attributes:
        step: steps done, their evaluation included.
        best, best_step: the evaluation that was better than all others, and its step.
        stale: evaluations since then.
        rows, training_seconds: of all steps, evaluations left out.
        seconds: of the whole run, each time that it was continued included.
    """

    step: int = 0
    best: dict[str, float] | None = None
    best_step: int | None = None
    stale: int = 0
    rows: int = 0
    training_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def samples_per_second(self) -> float:
        return self.rows / self.training_seconds if self.training_seconds else 0.0

    def after_step(self, rows: int, seconds: float) -> Course:
        return replace(
            self, step=self.step + 1, rows=self.rows + rows, training_seconds=self.training_seconds + seconds
        )

    def after_evaluation(self, metrics: dict[str, float]) -> Course:
        """`stale` is 0 where they are the best so far."""
        if better(metrics, self.best):
            return replace(self, best=metrics, best_step=self.step, stale=0)
        return replace(self, stale=self.stale + 1)


@dataclass(frozen=True)
class State:
    """A run between two steps; `tensors` are named `learned/…`, `adamw/…` and, after an evaluation, `best/…`."""

    course: Course
    tensors: dict[str, Tensor]


def named(tuned: Tuned) -> Parameters:
    """What training changes, by name."""
    return {name: p for name, p in tuned.named_parameters() if p.requires_grad}


def values(parameters: Parameters) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in parameters.items()}


@torch.no_grad()
def set_values(parameters: Parameters, new: dict[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(new[name])


def moments(parameters: Parameters, optimizer: Optimizer) -> dict[str, Tensor]:
    """`NAME/exp_avg`, `NAME/exp_avg_sq` and `NAME/step`, copied; empty before the first step."""
    kept = {name: optimizer.state.get(p, {}) for name, p in parameters.items()}
    return {f"{name}/{key}": x.clone() for name, of_one in kept.items() for key, x in of_one.items()}


def set_moments(parameters: Parameters, optimizer: Optimizer, new: dict[str, Tensor]) -> None:
    for name, tensor in new.items():
        owner, _, key = name.rpartition("/")
        parameter = parameters[owner]
        optimizer.state[parameter][key] = tensor if key == "step" else tensor.to(parameter.device)


def joined(**parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """`{"learned": {"a": x}}` → `{"learned/a": x}`."""
    return {f"{part}/{name}": x for part, tensors in parts.items() for name, x in tensors.items()}


def part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.partition("/")[2]: x for key, x in tensors.items() if key.startswith(f"{name}/")}


def contents(tuned: Tuned, rows: str, held_out: Sequence[Example]) -> dict[str, str]:
    """Hashes of what a run works on, by the names that a refusal gives them; `rows` is that of the training rows."""
    start = (f"{name} {tuple(p.shape)} {p.detach().cpu().numpy().tobytes().hex()}" for name, p in named(tuned).items())
    return {
        "the base model": tuned.base.fingerprint,
        "the training rows": rows,
        "the evaluation rows": digest(map(repr, held_out)),
        "what the virtual tokens start from": digest(start),
    }


def digest(lines: Iterable[str]) -> str:
    found = hashlib.sha256()
    for line in lines:
        found.update(line.encode() + b"\n")
    return f"sha256:{found.hexdigest()}"
