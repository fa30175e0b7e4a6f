"""How long the exported graph takes with each adapter: one text at a time, the adapters in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import edgetune_runtime

from edgetune.comparison.figures import Latency
from edgetune.data.rows import Row
from edgetune.evaluation.bundle import text_of

MOST_TEXTS = 40
NEW_TOKENS = 16
WARM_UP = 2
SECONDS = 30.0
"""After so long no further text is begun, once there are FEWEST."""
FEWEST = 5

Measurement = tuple[float, float | None]
Call = Callable[[str | None], Measurement]


def latencies(
    model: edgetune_runtime.Model, adapters: Sequence[str | None], rows: Sequence[Row], task: str
) -> dict[str | None, Latency]:
    """By adapter (None: the bare base). Each text goes through all of them before the next one does."""
    calls = [call_of(model, row, task) for row in rows[:MOST_TEXTS]]
    for adapter in adapters:
        for i in range(WARM_UP):
            calls[i % len(calls)](adapter)
    taken: dict[str | None, list[Measurement]] = {adapter: [] for adapter in adapters}
    began = time.perf_counter()
    for i, call in enumerate(calls):
        if i >= FEWEST and time.perf_counter() - began > SECONDS:
            break
        turn = i % len(adapters)
        for adapter in [*adapters[turn:], *adapters[:turn]]:
            taken[adapter].append(call(adapter))
    return {adapter: latency_of(found) for adapter, found in taken.items()}


def latency_of(taken: Sequence[Measurement]) -> Latency:
    later = [per_token for _, per_token in taken if per_token is not None]
    return Latency(median(first for first, _ in taken), median(later) if later else None, len(taken))


def call_of(model: edgetune_runtime.Model, row: Any, task: str) -> Call:
    """Answers one row and says how long that took, in milliseconds: until the first token, and each later one."""
    if task != "generate":
        text: Any = row.tokens if task == "tag" else text_of(row)
        read: Any = {"classify": model.classify, "tag": model.tag, "regress": model.regress}[task]

        def answered(adapter: str | None) -> Measurement:
            began = time.perf_counter()
            read(text, adapter=adapter)
            return (time.perf_counter() - began) * 1000, None

        return answered
    # as many as the row itself has behind its prompt: those fit
    count = min(NEW_TOKENS, len(model.tokenizer.encode(row.completion, add_special_tokens=False)) + 1)

    def generated(adapter: str | None) -> Measurement:
        answer = model.generate(
            row.prompt, adapter=adapter, max_new_tokens=count, min_new_tokens=count, temperature=0.0, stop=[]
        )
        rate = answer.timing.tokens_per_second
        return answer.timing.first_token_ms, 1000 / rate if rate else None

    return generated
