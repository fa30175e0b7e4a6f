"""What the rest of a run depends on: how far it has come, what it has learned, AdamW's moments, the best so far."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from edgetune.methods.tuned import Tuned
from edgetune.training.examples import Example


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


@dataclass(frozen=True)
class State:
    """A run between two steps; `tensors` are named `learned/…`, `adamw/…` and, after an evaluation, `best/…`."""

    course: Course
    tensors: dict[str, Tensor]


def learned(tuned: Tuned) -> dict[str, torch.nn.Parameter]:
    """What training changes, by name."""
    return {name: p for name, p in tuned.named_parameters() if p.requires_grad}


def values(parameters: dict[str, torch.nn.Parameter]) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in parameters.items()}


@torch.no_grad()
def set_values(parameters: dict[str, torch.nn.Parameter], new: dict[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(new[name])


def moments(parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """`NAME/exp_avg`, `NAME/exp_avg_sq` and `NAME/step`, copied; empty before the first step."""
    return {
        f"{name}/{key}": x.clone() for name, p in parameters.items() for key, x in optimizer.state.get(p, {}).items()
    }


def set_moments(
    parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, new: dict[str, Tensor]
) -> None:
    for name, tensor in new.items():
        parameter, _, key = name.rpartition("/")
        optimizer.state[parameters[parameter]][key] = tensor


def joined(**parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """`{"learned": {"a": x}}` → `{"learned/a": x}`."""
    return {f"{part}/{name}": x for part, tensors in parts.items() for name, x in tensors.items()}


def part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.partition("/")[2]: x for key, x in tensors.items() if key.startswith(f"{name}/")}


def contents(tuned: Tuned, examples: Sequence[Example], held_out: Sequence[Example]) -> dict[str, str]:
    """Hashes of what a run works on, by the names that a refusal gives them."""
    start = (f"{name} {tuple(p.shape)} {p.detach().cpu().numpy().tobytes().hex()}" for name, p in learned(tuned).items())
    return {
        "the base model": tuned.base.fingerprint,
        "the training rows": digest(map(repr, examples)),
        "the evaluation rows": digest(map(repr, held_out)),
        "what the virtual tokens start from": digest(start),
    }


def digest(lines: Iterable[str]) -> str:
    found = hashlib.sha256()
    for line in lines:
        found.update(line.encode() + b"\n")
    return f"sha256:{found.hexdigest()}"


@contextmanager
def draws_of(seed: int, step: int) -> Iterator[None]:
    """Random draws inside depend on seed and step alone, so no random state needs keeping; those outside are untouched."""
    with torch.random.fork_rng():
        torch.manual_seed(int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:8], "big"))
        yield
