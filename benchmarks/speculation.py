"""Tokens per second with drafts from the text itself and without, on a real model whose texts repeat what they read.

    python benchmarks/speculation.py [--folder FOLDER] [--threads 1] [--texts 40] [--rounds 5]

The task is extraction: of a restaurant's description from E2E NLG the passage that begins with two given words
(extractor.py, which tunes the real model stories260K for it: untuned it copies nothing). The texts are held out. Told
are the answers that are exactly right, the tokens per second of whole calls and of what follows the first token,
medians of rounds in turn, and whether the text is the same with drafts and without. "A step of n" is a run over n
tokens beside one over one: what a machine and a model let drafts gain. `--stories` has the untuned model continue
stories instead, which repeat little: what drafts cost where they do not help.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import edgetune_runtime
import numpy as np
from edgetune_export.bundle import export_bundle
from extractor import MODEL, Row, held_out_rows, write_extractor
from places import SHARED, shared

from edgetune.bench.machine import bandwidth_gb_s
from edgetune.models.base import load_base

DRAFTS = {"plain": None, "drafts of 10": 10, "drafts of 20": 20, "drafts of 40": 40}
STARTS = ("Once upon a time", "Lily and Tom", "One day, a big dog", "The sun was warm and", "Ben had a red ball. He")


def step_costs(model: Any, adapter: Any = None, counts: Sequence[int] = (2, 4, 8, 16, 32)) -> dict[int, float]:
    """How many times as long as a step a run over so many tokens takes, behind a hundred tokens; medians."""
    decoder, ids = model.decoder, np.arange(10, 110)
    _, state = decoder.prefill([ids], [adapter], 200)

    def taken(count: int) -> float:
        times = []
        for _ in range(31):
            start = time.perf_counter()
            if count == 1:
                decoder.step(ids[:1], state)
            else:
                decoder.extend(ids[:count], state, 0)
            times.append(time.perf_counter() - start)
            decoder.truncated(len(ids), state)
        return statistics.median(times)

    one = taken(1)
    return {count: taken(count) / one for count in counts}


def measured(model: Any, rows: Sequence[Row], rounds: int, most: int) -> dict[str, dict[str, Any]]:
    """For each way: tokens per second of whole calls and of what follows the first token, and the texts."""
    found: dict[str, dict[str, Any]] = {way: {"whole": [], "steps": []} for way in DRAFTS}
    for number in range(rounds + 1):
        for way, count in DRAFTS.items():
            texts, tokens, seconds, later = [], 0, 0.0, 0.0
            for prompt, _ in rows:
                start = time.perf_counter()
                answer = model.generate(prompt, adapter=None, max_new_tokens=most, prompt_lookup_num_tokens=count)
                took = time.perf_counter() - start
                texts.append(answer.text)
                tokens += len(answer.token_ids)
                seconds += took
                later += took - answer.timing.first_token_ms / 1e3
            if number:
                found[way]["whole"].append(tokens / seconds)
                found[way]["steps"].append(tokens / later)
            found[way]["texts"] = texts
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/edgetune-extractor"), help="where the model is kept")
    parser.add_argument("--steps", type=int, default=1600, help="of tuning it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stories", action="store_true", help="continue stories instead")
    parser.add_argument("--shared", type=Path, default=SHARED)
    given = parser.parse_args()
    bundle = given.folder / ("untuned" if given.stories else "bundle")
    if not bundle.exists() and given.stories:
        export_bundle(load_base(str(shared(MODEL, given.shared)), "generate"), {}, bundle)
    elif not bundle.exists():
        write_extractor(given.folder, given.shared, given.steps)
    model = edgetune_runtime.load(bundle, threads=given.threads)
    load = os.getloadavg()[0]
    rows = [(x, "") for x in STARTS] if given.stories else held_out_rows(given.shared, given.texts)
    found = measured(model, rows, given.rounds, 160)
    print(f"{given.threads} threads, read bandwidth {bandwidth_gb_s():.1f} GB/s; load before: {load:.1f}")
    costs = ", ".join(f"of {count} {cost:.2f}" for count, cost in step_costs(model).items())
    print(f"a step of 1 takes 1, {costs}\n")
    plain = found["plain"]
    if not given.stories:
        exact = sum(text.strip() == wanted for text, (_, wanted) in zip(plain["texts"], rows))
        print(f"{exact} of {len(rows)} held-out texts are extracted exactly; the first: {plain['texts'][0]!r}\n")
    print("| | tokens/s of the call | ÷ plain | tokens/s after the first token | ÷ plain | same texts |")
    print("| --- " * 6 + "|")
    base = {key: statistics.median(plain[key]) for key in ("whole", "steps")}
    for way, x in found.items():
        whole, steps = statistics.median(x["whole"]), statistics.median(x["steps"])
        same = sum(a == b for a, b in zip(x["texts"], plain["texts"]))
        print(
            f"| {way} | {whole:.0f} | {whole / base['whole']:.2f} | {steps:.0f} | {steps / base['steps']:.2f} | "
            f"{same} of {len(rows)} |"
        )


if __name__ == "__main__":
    main()
