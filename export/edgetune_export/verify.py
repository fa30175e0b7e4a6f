"""The bundle against torch, before it counts: the runtime that ships computes what the tuned model computes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import edgetune_runtime
import numpy as np
import torch
from edgetune_runtime.template import MASK, TEXT

from edgetune.adapter import Adapter, adapter_from, tuned_from
from edgetune.config import Pooling
from edgetune.errors import VerificationError
from edgetune.methods.head import LinearHead, MlpHead
from edgetune.methods.initial import from_embeddings
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.methods.words import LabelWords
from edgetune.models.base import Base
from edgetune.models.forward_pairs import places_of
from edgetune.models.rounding import FLOAT, Weights, roundings
from edgetune.models.suffix import suffix_ids
from edgetune_export.device import device_file

FLOAT_TOLERANCE, INTEGER_TOLERANCE = 1e-4, 0.1
"""Largest difference of logits, relative to the largest logit where that is above 1.

Torch computes with the weights that ship, rounded: the first bound is for float32 arithmetic, the second for
activations that products take in int8.
"""

SAMPLE_LENGTHS = (1, 7, 23)
TEXTS = ("Once upon a time", "What's the weather in Zürich?", "  two  spaces\nand a line; 日本語 too")


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        what: adapter and stage, such as `intents, batch` or `base, steps`.
        difference: largest absolute difference of logits.
        scale: largest absolute logit of torch, at least 1.
    """

    what: str
    difference: float
    scale: float

    def holds(self, tolerance: float) -> bool:
        return self.difference <= tolerance * self.scale


def compared(what: str, expected: np.ndarray, got: np.ndarray) -> Check:
    if expected.shape != got.shape:
        raise VerificationError(f"{what}: the bundle gives logits of shape {got.shape}, torch {expected.shape}")
    difference = float(np.abs(expected - got).max()) if expected.size else 0.0
    return Check(what, difference if np.isfinite(got).all() else float("inf"), max(1.0, float(np.abs(expected).max())))


def sample_rows(base: Base, virtual_tokens: int) -> list[list[int]]:
    """Rows of mixed lengths from the middle of the vocabulary, the same for every export."""
    room = (base.max_positions or 10**9) - virtual_tokens
    rng = np.random.default_rng(0)
    return [rng.integers(base.vocab_size // 4, base.vocab_size // 2, min(t, room)).tolist() for t in SAMPLE_LENGTHS]


def padded(rows: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and mask, `[B, T]`."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])


@torch.no_grad()
def class_checks(model: edgetune_runtime.Model, tuned: Tuned, name: str) -> Iterator[Check]:
    """Of an encoder's head, or of a decoder's label words."""
    rows = [filling(tuned, row) for row in sample_rows(tuned.base, tuned.virtual().tokens)]
    ids, mask = padded(rows, tuned.base.pad_token_id)
    expected = tuned.class_logits(ids, mask).numpy()
    yield compared(f"{name}, batch of mixed lengths", expected, model.class_logits(rows, adapter=name))
    yield compared(f"{name}, one row", expected[:1], model.class_logits(rows[:1], adapter=name))


def filling(tuned: Tuned, row: list[int]) -> list[int]:
    """With one mask token, where the head reads there."""
    middle = len(row) // 2
    return [*row[:middle], tuned.base.mask_token_id, *row[middle + 1 :]] if tuned.pooling == "mask" else row


@torch.no_grad()
def tag_checks(model: edgetune_runtime.Model, tuned: Tuned, name: str) -> Iterator[Check]:
    rows = sample_rows(tuned.base, tuned.virtual().length)
    expected = tuned.class_logits(*padded(rows, tuned.base.pad_token_id)).numpy()
    whole = np.concatenate([of_row[: len(row)] for of_row, row in zip(expected, rows)])
    got = np.concatenate(model.tag_logits(rows, name))
    yield compared(f"{name}, batch of mixed lengths", whole, got)
    yield compared(f"{name}, one row", expected[0, : len(rows[0])], model.tag_logits(rows[:1], name)[0])


@torch.no_grad()
def decoder_checks(model: edgetune_runtime.Model, tuned: Tuned, name: str | None) -> Iterator[Check]:
    """The prompt at once, and in steps of one token over the cache."""
    named, virtual = name or "base", tuned.virtual()
    if virtual.suffix is not None:
        yield from suffix_checks(model, tuned, named)
        return
    for row in sample_rows(tuned.base, virtual.tokens)[1:]:
        ids, mask = padded([row], tuned.base.pad_token_id)
        expected = tuned.token_logits(ids, mask, mask.bool()).numpy()
        yield compared(f"{named}, prefill of {len(row)}", expected, model.logits(row, adapter=name, keep=0))
        yield compared(f"{named}, steps of 1", expected[1:], model.step_logits(row, adapter=name)[1:])


@torch.no_grad()
def suffix_checks(model: edgetune_runtime.Model, tuned: Tuned, name: str) -> Iterator[Check]:
    """Prompts at once, and as a batch of mixed lengths whose completion is written in steps of 1."""
    base, taken = tuned.base, tuned.virtual().tokens
    written = min(9, ((base.max_positions or 99) - taken) // 2)
    rows, target = sample_rows(base, taken + written), sample_rows(base, 0)[-1][:written]
    ids, stepped_logits = suffix_ids(tuned.virtual().suffix_length, base.vocab_size), []
    for row in rows:
        whole = torch.tensor([[*row, *ids, *target[:-1]]])
        expected = tuned.token_logits(whole, torch.ones_like(whole), torch.ones_like(whole, dtype=torch.bool)).numpy()
        prompt = expected[: len(row) + len(ids)]
        yield compared(f"{name}, prefill of {len(row)}", prompt, model.logits(row, adapter=name, keep=0))
        stepped_logits.append(expected[len(prompt) - 1 :])
    got = np.stack(list(stepped(model, rows, target, name)), axis=1)
    yield compared(f"{name}, a batch in steps of 1", np.stack(stepped_logits), got)


@torch.no_grad()
def pair_checks(model: edgetune_runtime.Model, tuned: Tuned, name: str | None) -> Iterator[Check]:
    """Completions at once, and as a batch of mixed prompts in steps of one token over the cache."""
    base, named, written = tuned.base, name or "base", min(9, (tuned.base.max_positions or 99) - tuned.virtual().tokens)
    rows, target = sample_rows(base, tuned.virtual().tokens), sample_rows(base, 0)[-1][:written]
    starts = torch.tensor([[places_of(base).beginning.start, *target[:-1]]] * len(rows))
    ids, mask = padded(rows, base.pad_token_id)
    everywhere = torch.ones_like(starts, dtype=torch.bool)
    expected = tuned.completion_logits(ids, mask, starts, everywhere).unflatten(0, (len(rows), written)).numpy()
    for row, logits in zip(rows, expected):
        got = model.completion_logits(row, target, adapter=name)
        yield compared(f"{named}, completion of a prompt of {len(row)}", logits, got)
    got = np.stack(list(stepped(model, rows, target, name)), axis=1)
    yield compared(f"{named}, a batch in steps of 1", expected, got)


def stepped(
    model: edgetune_runtime.Model, rows: list[list[int]], target: list[int], name: str | None
) -> Iterator[np.ndarray]:
    """`[B, V]` of each token of `target`, which all rows write."""
    chosen = [model.adapter_named(name)] * len(rows)
    logits, state = model.decoder.prefill([np.array(row) for row in rows], chosen)
    yield logits.copy()
    for token in target[:-1]:
        logits, state = model.decoder.step(np.full(len(rows), token), state)
        yield logits.copy()


def trial_checks(model: edgetune_runtime.Model, base: Base, pooling: Pooling) -> list[Check]:
    """Checks of an encoder that has no adapter yet: with a prompt of one word and heads that pass hidden units on."""
    size, checks = base.hidden_size, []
    prompt = Prompt(from_embeddings(base, torch.tensor([base.vocab_size // 2])))
    for name, head in (("base", LinearHead(size, 2)), ("base, hidden layer", MlpHead(size, 2, size))):
        for weight in (x for x in head.parameters() if x.dim() > 1):
            torch.nn.init.eye_(weight)
        words = LabelWords(f"{TEXT} {MASK}", ((0,), (1,))) if base.masked else None
        tuned, task = Tuned(base, prompt, head, pooling, words=words), "tag" if pooling == "each" else "classify"
        trial = adapter_from(tuned, task=task, method="prompt", labels=("0", "1"))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trial.safetensors"
            path.write_bytes(device_file("trial", trial, base))
            model.add_adapter(path, replace=True)
        found = CHECKS[task](model, tuned, "trial")
        checks += [replace(check, what=check.what.replace("trial", name)) for check in found]
    return checks


def token_checks(model: edgetune_runtime.Model, base: Base) -> None:
    """Raises VerificationError where the runtime's tokenizer and the one of training part ways."""
    assert base.tokenizer is not None
    for text in TEXTS:
        for ours, theirs in ((base.tokenizer, model.tokenizer), (base.target_tokenizer, model.target_tokenizer)):
            if ours is None:
                continue
            expected, got = list(ours(text).input_ids), list(theirs.encode(text))
            if expected != got:
                raise VerificationError(f"tokenizer.json encodes {text!r} as {got}, training as {expected}")


CHECKS: dict[str, Callable[..., Iterator[Check]]] = {
    "classify": class_checks,
    "regress": class_checks,
    "tag": tag_checks,
    "decoder": decoder_checks,
    "encoder-decoder": pair_checks,
}


def tolerance(base: Base, weights: Weights) -> float:
    """What a bundle may differ by from torch with the same rounded weights."""
    integers = any(
        rounding.bits < 16 and (not rounding.block_size or weights.accuracy_level == 4)
        for rounding in roundings(base, weights).values()
    )
    return INTEGER_TOLERANCE if integers else FLOAT_TOLERANCE


def verified(
    folder: Path,
    base: Base,
    adapters: dict[str, Adapter],
    standalone: bool,
    pooling: Pooling,
    weights: Weights = FLOAT,
) -> list[Check]:
    """Every adapter's checks; `base` computes with rounded weights.

    Raises:
        VerificationError: one is above the precision's tolerance; names it and the difference.
    """
    model = edgetune_runtime.load(folder)
    token_checks(model, base)
    checks: list[Check] = []
    for name, adapter in adapters.items():
        tuned = tuned_from(base, adapter)
        checks += CHECKS[base.kind if adapter.task == "generate" else adapter.task](model, tuned, name)
    if base.kind != "encoder" and not standalone:
        checks += CHECKS[base.kind](model, Tuned(base, None), None)
    if base.kind == "encoder" and not adapters:
        checks += trial_checks(model, base, pooling)
    allowed = tolerance(base, weights)
    for check in checks:
        if not check.holds(allowed):
            raise VerificationError(
                f"{check.what}: ONNX Runtime and torch differ by {check.difference:.1e} where logits reach "
                f"{check.scale:.1f}; at most {allowed:.0e} of that is allowed. No bundle was written"
            )
    return checks
