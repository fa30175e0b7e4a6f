"""Does constrained output always parse? Random JSON schemas, each followed once, at temperature 1.

    edgetune export --model ../shared/models/stories260K-hf --precision fp32 --out BUNDLE
    python benchmarks/constrained.py BUNDLE [--count 1000]

Every text that ended by itself is parsed and validated with jsonschema, and must pass; a text that the most tokens cut
is counted on its own. The schemas are those of the tests, of all types, nested.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

import edgetune_runtime
import jsonschema
from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from references.schemas import SCHEMAS


def verdict(model: edgetune_runtime.Model, schema: dict, number: int) -> tuple[str, int]:
    """How one text ended and how many tokens it has; raises where it ended by itself and does not fit."""
    found = model.generate("Once upon a time", adapter=None, json_schema=schema, temperature=1.0, seed=number)
    if found.finish_reason == "eos":
        jsonschema.validate(json.loads(found.text), schema)
    return found.finish_reason, len(found.token_ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args()
    model, ends, tokens = edgetune_runtime.load(arguments.bundle, threads=1), Counter(), 0
    different = set()

    @seed(0)
    @settings(
        max_examples=arguments.count, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(schema=SCHEMAS)
    def follow(schema: dict) -> None:
        nonlocal tokens
        reason, count = verdict(model, schema, sum(ends.values()))
        ends[reason] += 1
        tokens += count
        different.add(json.dumps(schema))

    started = time.perf_counter()
    follow()
    seconds = time.perf_counter() - started
    print(f"{sum(ends.values())} schemas, {len(different)} different: {ends['eos']} fit, {ends['length']} were cut")
    each = seconds / max(tokens, 1) * 1e6
    print(f"{tokens} tokens in {seconds:.1f} s, grammars and checks included: {each:.0f} µs each")


if __name__ == "__main__":
    main()
