"""What is done to a row's logits before a token is chosen: one small function for each option.

A processor takes logits [V], float32, and the new tokens so far, and writes to the logits. They run in this order in
every language, each in float32:

1. `repetition_penalty` r: of each token of the prompt and the new ones, a logit below 0 times r, another divided by r
2. `frequency_penalty` and `presence_penalty`: logit − frequency · count − presence, of each of the new tokens
3. `logit_bias`: added
4. tokens that the model must not choose, end tokens while there are fewer than `min_new_tokens`: −inf

What a row does not ask for is not in its list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .options import Resolved

Processor = Callable[[np.ndarray, Sequence[int]], None]
"""Logits [V] and the new tokens so far; it writes to the logits."""


def processors_for(
    options: Resolved, prompt: np.ndarray, end_ids: Sequence[int], never: Sequence[int] = ()
) -> list[Processor]:
    """The processors of one row with the prompt [T], in their order; they hold state, and are this row's alone."""
    found: list[Processor] = []
    if options.repetition_penalty not in (None, 1):
        found.append(repetition_penalty(options.repetition_penalty, prompt))
    if options.presence_penalty or options.frequency_penalty:
        found.append(new_token_penalties(options.presence_penalty or 0.0, options.frequency_penalty or 0.0))
    if options.logit_bias:
        found.append(logit_bias(options.logit_bias))
    if never:
        found.append(banned(never))
    if options.min_new_tokens and end_ids:
        found.append(no_end_before(options.min_new_tokens, end_ids))
    return found


def repetition_penalty(penalty: float, prompt: np.ndarray) -> Processor:
    """Tokens that the text has already, prompt included, become less probable (Keskar et al. 2019, "CTRL")."""
    factor, seen = np.float32(penalty), Seen(prompt)

    def process(logits: np.ndarray, new_ids: Sequence[int]) -> None:
        ids = seen.ids(new_ids)
        of_them = logits[ids]
        logits[ids] = np.where(of_them < 0, of_them * factor, of_them / factor)

    return process


class Seen:
    """The different tokens of a text that grows."""

    def __init__(self, prompt: np.ndarray):
        self._known = set(prompt.tolist())
        self._ids = np.array(sorted(self._known), np.int64)
        self._count = 0

    def ids(self, new_ids: Sequence[int]) -> np.ndarray:
        """Those of the prompt and of all new tokens; only what is new since the last call is looked at."""
        fresh = [t for t in dict.fromkeys(new_ids[self._count :]) if t not in self._known]
        self._count = len(new_ids)
        if fresh:
            self._known.update(fresh)
            self._ids = np.append(self._ids, np.array(fresh, np.int64))
        return self._ids


def new_token_penalties(presence: float, frequency: float) -> Processor:
    """Tokens become less probable with every time that they are among the new ones (OpenAI's definition)."""
    counts: dict[int, int] = {}
    looked_at = 0

    def process(logits: np.ndarray, new_ids: Sequence[int]) -> None:
        nonlocal looked_at
        for token in new_ids[looked_at:]:
            counts[token] = counts.get(token, 0) + 1
        looked_at = len(new_ids)
        if counts:
            ids, times = np.fromiter(counts, np.int64), np.fromiter(counts.values(), np.float32)
            logits[ids] -= times * np.float32(frequency) + np.float32(presence)

    return process


def logit_bias(bias: Mapping[int, float]) -> Processor:
    """Each token's number is added to its logit."""
    ids, values = np.array(list(bias), np.int64), np.array(list(bias.values()), np.float32)

    def process(logits: np.ndarray, new_ids: Sequence[int]) -> None:
        logits[ids] += values

    return process


def banned(ids: Sequence[int]) -> Processor:
    """Tokens that are never chosen."""
    never = list(ids)

    def process(logits: np.ndarray, new_ids: Sequence[int]) -> None:
        logits[never] = -np.inf

    return process


def no_end_before(count: int, end_ids: Sequence[int]) -> Processor:
    """No end token is chosen while there are fewer new ones than `count`."""
    ends = list(end_ids)

    def process(logits: np.ndarray, new_ids: Sequence[int]) -> None:
        if len(new_ids) < count:
            logits[ends] = -np.inf

    return process
