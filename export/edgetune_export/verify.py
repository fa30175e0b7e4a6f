"""The bundle against torch, before it counts: the runtime that ships computes what the tuned model computes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import edgetune_runtime
import numpy as np
import torch
from edgetune_runtime.session import open_session
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
from edgetune_export import new_positions
from edgetune_export.device import device_file
from edgetune_export.manifest import GRAPH
from edgetune_export.progress import Tell, untold

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


@dataclass(frozen=True)
class Expected:
    """What torch computes, and the call that has a bundle compute it.

    All of torch's side is known before the bundle is opened, so that a large base need not be in memory twice.
    """

    what: str
    logits: np.ndarray
    of: Callable[[edgetune_runtime.Model], np.ndarray]

    def compared(self, model: edgetune_runtime.Model) -> Check:
        """Raises VerificationError where the shapes differ."""
        expected, got = self.logits, self.of(model)
        if expected.shape != got.shape:
            raise VerificationError(
                f"{self.what}: the bundle gives logits of shape {got.shape}, torch {expected.shape}"
            )
        difference, scale = 0.0, max(1.0, float(np.abs(expected).max(initial=0)))
        if expected.size:
            difference = float(np.abs(expected - got).max()) if np.isfinite(got).all() else float("inf")
        return Check(self.what, difference, scale)


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
def class_logits(tuned: Tuned, name: str) -> Iterator[Expected]:
    """Of an encoder's head, or of a decoder's label words."""
    rows = [filling(tuned, row) for row in sample_rows(tuned.base, tuned.virtual().tokens)]
    ids, mask = padded(rows, tuned.base.pad_token_id)
    expected = tuned.class_logits(ids, mask).numpy()
    yield Expected(f"{name}, batch of mixed lengths", expected, lambda model: model.class_logits(rows, adapter=name))
    yield Expected(f"{name}, one row", expected[:1], lambda model: model.class_logits(rows[:1], adapter=name))


def filling(tuned: Tuned, row: list[int]) -> list[int]:
    """With one mask token, where the head reads there."""
    middle = len(row) // 2
    return [*row[:middle], tuned.base.mask_token_id, *row[middle + 1 :]] if tuned.pooling == "mask" else row


@torch.no_grad()
def tag_logits(tuned: Tuned, name: str) -> Iterator[Expected]:
    rows = sample_rows(tuned.base, tuned.virtual().length)
    expected = tuned.class_logits(*padded(rows, tuned.base.pad_token_id)).numpy()
    whole = np.concatenate([of_row[: len(row)] for of_row, row in zip(expected, rows)])
    yield Expected(f"{name}, batch of mixed lengths", whole, lambda m: np.concatenate(m.tag_logits(rows, name)))
    yield Expected(f"{name}, one row", expected[0, : len(rows[0])], lambda m: m.tag_logits(rows[:1], name)[0])


@torch.no_grad()
def decoder_logits(tuned: Tuned, name: str | None) -> Iterator[Expected]:
    """The prompt at once, and in steps of one token over the cache."""
    named, virtual = name or "base", tuned.virtual()
    if virtual.suffix is not None:
        yield from suffix_logits(tuned, named)
        return
    for row in sample_rows(tuned.base, virtual.tokens)[1:]:
        ids, mask = padded([row], tuned.base.pad_token_id)
        expected = tuned.token_logits(ids, mask, mask.bool()).numpy()
        at_once = lambda model, row=row: model.logits(row, adapter=name, keep=0)  # noqa: E731
        in_steps = lambda model, row=row: model.step_logits(row, adapter=name)[1:]  # noqa: E731
        yield Expected(f"{named}, prefill of {len(row)}", expected, at_once)
        yield Expected(f"{named}, steps of 1", expected[1:], in_steps)


@torch.no_grad()
def suffix_logits(tuned: Tuned, name: str) -> Iterator[Expected]:
    """Prompts at once, and as a batch of mixed lengths whose completion is written in steps of 1."""
    base, taken = tuned.base, tuned.virtual().tokens
    written = min(9, ((base.max_positions or 99) - taken) // 2)
    rows, target = sample_rows(base, taken + written), sample_rows(base, 0)[-1][:written]
    ids, later = suffix_ids(tuned.virtual().suffix_length, base.vocab_size), []
    for row in rows:
        whole = torch.tensor([[*row, *ids, *target[:-1]]])
        expected = tuned.token_logits(whole, torch.ones_like(whole), torch.ones_like(whole, dtype=torch.bool)).numpy()
        prompt = expected[: len(row) + len(ids)]
        at_once = lambda model, row=row: model.logits(row, adapter=name, keep=0)  # noqa: E731
        yield Expected(f"{name}, prefill of {len(row)}", prompt, at_once)
        later.append(expected[len(prompt) - 1 :])
    in_steps = lambda model: np.stack(list(stepped(model, rows, target, name)), axis=1)  # noqa: E731
    yield Expected(f"{name}, a batch in steps of 1", np.stack(later), in_steps)


@torch.no_grad()
def pair_logits(tuned: Tuned, name: str | None) -> Iterator[Expected]:
    """Completions at once, and as a batch of mixed prompts in steps of one token over the cache."""
    base, named, written = tuned.base, name or "base", min(9, (tuned.base.max_positions or 99) - tuned.virtual().tokens)
    rows, target = sample_rows(base, tuned.virtual().tokens), sample_rows(base, 0)[-1][:written]
    starts = torch.tensor([[places_of(base).beginning.start, *target[:-1]]] * len(rows))
    ids, mask = padded(rows, base.pad_token_id)
    everywhere = torch.ones_like(starts, dtype=torch.bool)
    expected = tuned.completion_logits(ids, mask, starts, everywhere).unflatten(0, (len(rows), written)).numpy()
    for row, logits in zip(rows, expected):
        at_once = lambda model, row=row: model.completion_logits(row, target, adapter=name)  # noqa: E731
        yield Expected(f"{named}, completion of a prompt of {len(row)}", logits, at_once)
    in_steps = lambda model: np.stack(list(stepped(model, rows, target, name)), axis=1)  # noqa: E731
    yield Expected(f"{named}, a batch in steps of 1", expected, in_steps)


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


def trial_logits(base: Base, pooling: Pooling) -> Iterator[Expected]:
    """Of an encoder that has no adapter yet: with a prompt of one word and heads that pass hidden units on."""
    size = base.hidden_size
    prompt = Prompt(from_embeddings(base, torch.tensor([base.vocab_size // 2])))
    for name, head in (("base", LinearHead(size, 2)), ("base, hidden layer", MlpHead(size, 2, size))):
        for weight in (x for x in head.parameters() if x.dim() > 1):
            torch.nn.init.eye_(weight)
        words = LabelWords(f"{TEXT} {MASK}", ((0,), (1,))) if base.masked else None
        tuned, task = Tuned(base, prompt, head, pooling, words=words), "tag" if pooling == "each" else "classify"
        file = device_file("trial", adapter_from(tuned, task=task, method="prompt", labels=("0", "1")), base)
        for found in LOGITS[task](tuned, "trial"):
            yield replace(found, what=found.what.replace("trial", name), of=on_trial(file, found.of))


def on_trial(
    file: bytes, of: Callable[[edgetune_runtime.Model], np.ndarray]
) -> Callable[[edgetune_runtime.Model], np.ndarray]:
    """The same call with an adapter that the bundle does not hold."""

    def call(model: edgetune_runtime.Model) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trial.safetensors"
            path.write_bytes(file)
            model.add_adapter(path, replace=True)
        return of(model)

    return call


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


LOGITS: dict[str, Callable[..., Iterator[Expected]]] = {
    "classify": class_logits,
    "regress": class_logits,
    "tag": tag_logits,
    "decoder": decoder_logits,
    "encoder-decoder": pair_logits,
}


def expected_logits(base: Base, adapters: dict[str, Adapter], standalone: bool, pooling: Pooling) -> Iterator[Expected]:
    """What every adapter is held against; `base` computes with the weights that ship."""
    for name, adapter in adapters.items():
        tuned = tuned_from(base, adapter)
        yield from LOGITS[base.kind if adapter.task == "generate" else adapter.task](tuned, name)
    if base.kind != "encoder" and not standalone:
        yield from LOGITS[base.kind](Tuned(base, None), None)
    if base.kind == "encoder" and not adapters:
        yield from trial_logits(base, pooling)


def tolerance(base: Base, weights: Weights) -> float:
    """What a bundle may differ by from torch with the same rounded weights."""
    integers = any(
        rounding.bits < 16 and (not rounding.block_size or weights.accuracy_level == 4)
        for rounding in roundings(base, weights).values()
    )
    return INTEGER_TOLERANCE if integers else FLOAT_TOLERANCE


def verified(
    folder: Path, base: Base, expected: Sequence[Expected], weights: Weights = FLOAT, tell: Tell = untold
) -> list[Check]:
    """The bundle in `folder`, compared with all that torch computed; of `base` the tokenizer alone is asked.

    Raises:
        VerificationError: one is above the precision's tolerance; names it and the difference.
    """
    model = edgetune_runtime.load(folder)
    token_checks(model, base)
    allowed, checks = tolerance(base, weights), []
    for number, each in enumerate(expected):
        tell("verifying", number, len(expected))
        check = each.compared(model)
        if not check.holds(allowed):
            raise VerificationError(
                f"{check.what}: ONNX Runtime and torch differ by {check.difference:.1e} where logits reach "
                f"{check.scale:.1f}; at most {allowed:.0e} of that is allowed. No bundle was written"
            )
        checks.append(check)
    del model  # the weights are not in memory twice
    if (folder / new_positions.FILE).exists():
        checks.append(new_positions_check(folder, allowed))
    return checks


def new_positions_check(folder: Path, allowed: float) -> Check:
    """The second graph against the first; raises VerificationError."""
    expected = new_positions.wholes(open_session(folder / GRAPH))
    difference, scale = new_positions.difference(open_session(folder / new_positions.FILE), expected)
    check = Check("new positions alone, against whole caches", difference, scale)
    if check.holds(allowed):
        return check
    raise VerificationError(
        f"{new_positions.FILE} and {GRAPH} differ by {difference:.1e} where they reach {scale:.1f}; at most "
        f"{allowed:.0e} of that is allowed. No bundle was written"
    )
