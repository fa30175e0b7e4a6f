"""A text that is baked into an adapter against the same text in every prompt: milliseconds to the first token.

    python benchmarks/baked.py [--bundle BUNDLE] [--tokens 512] [--threads 2] [--rounds 9]

Without --bundle, the 135 M shape of SmolLM in int4 (random weights), made once into --folder. The text is random
letters of as many tokens as asked for; each call goes on with eight more. Both ways in turn, medians; both have to
give the same greedy token.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import string
import sys
import tempfile
from pathlib import Path

import edgetune_runtime
from artefacts import Artefacts, Pythons
from edgetune_export.addition import add_adapter
from edgetune_export.bake import baked_by_bundle

from edgetune.models.rounding import Weights

BEHIND = " and now"


def text_of(model: edgetune_runtime.Model, tokens: int) -> str:
    """Letters, as few as make that many tokens."""
    drawn = random.Random(0)
    text = ""
    while len(model.tokenizer.encode(text)) < tokens:
        text += drawn.choice(string.ascii_lowercase + " ")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/edgetune-generation"), help="where models are kept")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--storage", default="fp16", help="of the keys and values")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    weights = Weights("int4", block_size=64)
    made = Artefacts(given.folder, Pythons(sys.executable, sys.executable))
    bundle = given.bundle or made.bundle("edgetune-int4-64", weights)
    made.forget()
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "bundle"
        shutil.copytree(bundle, copy, copy_function=os.link)
        (copy / "bundle.json").unlink()  # add-adapter rewrites it, and a link would be the original's
        shutil.copy(bundle / "bundle.json", copy)
        text = text_of(edgetune_runtime.load(bundle, verify=False), given.tokens)
        size = add_adapter(copy, "baked", baked_by_bundle(copy, text, given.storage)).stat().st_size
        model = edgetune_runtime.load(copy, threads=given.threads)
        ways = {"prompt": (text + BEHIND, None), "baked": (BEHIND, "baked")}
        times: dict[str, list[float]] = {way: [] for way in ways}
        tokens = {}
        for number in range(given.rounds + 1):
            for way, (prompt, adapter) in ways.items():
                found = model.generate(prompt, adapter=adapter, max_new_tokens=1, min_new_tokens=1, temperature=0.0)
                tokens[way] = found.token_ids
                if number:
                    times[way].append(found.timing.first_token_ms)
    medians = {way: round(statistics.median(taken), 2) for way, taken in times.items()}
    told = {
        "tokens": given.tokens, "first_token_ms": medians, "ratio": round(medians["prompt"] / medians["baked"], 1),
        "same_token": tokens["prompt"] == tokens["baked"], "adapter_bytes": size, "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    print(json.dumps(told))


if __name__ == "__main__":
    main()
