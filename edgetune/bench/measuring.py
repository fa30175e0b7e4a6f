"""Calls of the runtime, timed: what an app would see, all of the runtime's own work included."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import edgetune_runtime
from edgetune_runtime.manifest import read_manifest
from edgetune_runtime.memory import weight_bytes

from edgetune.bench.figures import Bench, Plan, Point
from edgetune.bench.machine import bandwidth_gb_s, resident_bytes
from edgetune.errors import ConfigError

SAMPLING = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "seed": 0}
SWITCHES = 100

Answer = Callable[[Sequence[Any], Any], tuple[float, float] | None]
"""Answers texts; of generators, milliseconds until all have their first token, and tokens per second after that."""


def bench(
    path: str | Path,
    plan: Plan,
    *,
    adapter: str | None = None,
    bare: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    **resources: Any,
) -> Bench:
    """Loads the bundle at `path` and measures it; `resources` are what `edgetune_runtime.load` takes.

    Raises:
        ConfigError: no length of the plan fits the base.
        edgetune_runtime.EdgetuneError: the bundle, or the adapter, is not to be had.
    """
    tell("loading")
    before, started = resident_bytes(), time.perf_counter()
    model: Any = edgetune_runtime.load(path, **resources)
    loaded = time.perf_counter()
    chosen = None if bare else adapter if adapter is not None else model.default_adapter
    task: str = "generate" if bare else model.adapters[chosen].task if chosen in model.adapters else model.task
    answer = answer_of(model, task, plan)
    texts = texts_of(model, task, chosen)
    answer([texts(8, 0)], chosen)
    first_answer_ms = (time.perf_counter() - loaded) * 1e3
    plan = fitting(plan, model, chosen, task)
    points = [measured(answer, texts, chosen, tokens, rows, plan, tell) for tokens, rows in places(plan)]
    added = resident_bytes() - before
    tell("switching adapters")
    brief = answer_of(model, task, replace(plan, new_tokens=1))
    switch = switch_us(brief, texts, [name for name, info in model.adapters.items() if info.task == task])
    tell("the machine's bandwidth")
    size = sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())
    return Bench(
        str(path), model.kind, task, chosen, resources.get("threads"),
        size, weight_bytes(read_manifest(Path(path))),
        (loaded - started) * 1e3, first_answer_ms, added, tuple(points), switch, bandwidth_gb_s(),
    )  # fmt: skip


def places(plan: Plan) -> list[tuple[int, int]]:
    """Each length with one row, and each number of rows with the shortest length."""
    alone = [(tokens, 1) for tokens in plan.lengths]
    return [*alone, *((plan.lengths[0], rows) for rows in plan.rows if rows > 1)]


def fitting(plan: Plan, model: edgetune_runtime.Model, adapter: str | None, task: str) -> Plan:
    """The plan with those lengths that the base has room for."""
    limit = model.manifest.graph.max_positions
    taken = model.adapters[adapter].virtual_tokens if adapter is not None else 0
    taken += plan.new_tokens if task == "generate" and model.kind == "decoder" else 0
    lengths = tuple(sorted({x for x in plan.lengths if limit is None or x + taken <= limit}))
    if not lengths:
        raise ConfigError(
            f"the base holds {limit} positions, {taken} of them taken by virtual and new tokens: no text of "
            f"{min(plan.lengths)} tokens fits; give a shorter --tokens"
        )
    return replace(plan, lengths=lengths)


def measured(
    answer: Answer, texts: Callable[[int, int], Any], adapter: str | None, tokens: int, rows: int, plan: Plan,
    tell: Callable[[str], None],
) -> Point:  # fmt: skip
    """Medians; one round before them does not count. New texts each time."""
    tell(f"{rows} × {tokens} tokens")
    answers, rates = [], []
    for number in range(plan.rounds + 1):
        batch = [texts(tokens, number * rows + row) for row in range(rows)]
        start = time.perf_counter()
        found = answer(batch, adapter) or ((time.perf_counter() - start) * 1e3, None)
        if number:
            answers.append(found[0])
            rates.append(found[1])
    return Point(tokens, rows, median(answers), None if None in rates else median(rates))


def switch_us(answer: Answer, texts: Callable[[int, int], Any], names: Sequence[str]) -> float | None:
    """The median call whose adapter is another than that of the call before, less the median call whose is the same."""
    if len(names) < 2:
        return None
    other, same = switch_times(answer, texts, names)
    return max(0.0, median(other) - median(same)) * 1e6


def switch_times(
    answer: Answer, texts: Callable[[int, int], Any], names: Sequence[str], switches: int = SWITCHES
) -> tuple[list[float], list[float]]:
    """Seconds of calls on the shortest text, with another adapter than the call before and with the same.

    They go A A B B A A …, so that both kinds see the same moments of the machine.
    """
    text, (first, second) = [texts(1, 0)], names[:2]
    times: list[float] = []
    for number in range(2 * switches + 2):
        start = time.perf_counter()
        answer(text, second if number // 2 % 2 else first)
        times.append(time.perf_counter() - start)
    return times[2::2], times[3::2]


def texts_of(model: edgetune_runtime.Model, task: str, adapter: str | None) -> Callable[[int, int], Any]:
    """Texts by length and number: random token ids, the same on every run; words for what tags or has a template."""
    tuned = model.adapter_named(adapter)
    has_template = tuned is not None and tuned.metadata.template is not None
    vocabulary = model.manifest.graph.vocab_size
    special = set(model.eos_token_ids) | set(filter(None, [model.manifest.tokenizer.mask_token_id]))
    first = min(1000, vocabulary // 2)

    def text(tokens: int, number: int) -> Any:
        drawn = random.Random(tokens * 1009 + number)
        if task == "tag":
            return ("the",) * tokens
        if has_template:
            return " ".join(["the"] * tokens)
        ids = (drawn.randrange(first, vocabulary) for _ in range(2 * tokens + 8))
        return [x for x in ids if x not in special][:tokens]

    return text


def answer_of(model: Any, task: str, plan: Plan) -> Answer:
    if task != "generate":
        read: Any = {"classify": model.classify, "tag": model.tag, "regress": model.regress}[task]
        chosen = lambda adapter: {} if adapter is None else {"adapter": adapter}  # noqa: E731

        def answered(texts: Sequence[Any], adapter: Any) -> None:
            read(list(texts), **chosen(adapter))

        return answered
    options: dict[str, Any] = dict(SAMPLING) if plan.sampled else {"temperature": 0.0}
    options |= {"max_new_tokens": plan.new_tokens, "min_new_tokens": plan.new_tokens, "stop": []}

    def generated(texts: Sequence[Any], adapter: Any) -> tuple[float, float]:
        timings = [found.timing for found in model.generate(list(texts), adapter=adapter, **options)]
        return max(x.first_token_ms for x in timings), sum(x.tokens_per_second for x in timings)

    return generated
