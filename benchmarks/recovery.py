"""What rounding to 4 bits costs a tuned adapter, and what `--recover` and `--base-precision` win back.

    python benchmarks/recovery.py [--cases banking77 e2e] [--methods prefix prompt] [--recover 200] [--seeds 0 1 2]

banking77: intents on MiniLM, 300 steps of 32 rows. e2e: E2E NLG on stories260K, 400 steps of 16. Each adapter is tuned
on the float weights and exported in fp32, in int4, and in int4 after `--recover` steps against the rounded weights; a
second one is tuned against them from its first step (`--base-precision int4`). Loss and accuracy are the bundles' own
on the test rows; `lost` is what a bundle lost of the fp32 bundle's, as a share of what plain int4 lost.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from e2e import TEST_ROWS, VIRTUAL_TOKENS, as_jsonl
from edgetune_export.bundle import export_bundle
from intents import banking77, written
from places import SHARED, shared

from edgetune.adapter import Adapter, load_adapter
from edgetune.config import TrainConfig
from edgetune.data.demo import embedded_model
from edgetune.evaluation.bundle import evaluate_bundle
from edgetune.models.base import load_base
from edgetune.models.rounding import Weights
from edgetune.training.recovery import recovered
from edgetune.training.result import train_into

CASES, METHODS = ("banking77", "e2e"), ("prefix", "prompt")


def case_of(case: str, method: str, folder: Path, root: Path) -> tuple[TrainConfig, Path]:
    """A run's configuration, and its test rows."""
    if case == "banking77":
        train, test = (written(rows, folder / name) for rows, name in zip(banking77(root), ("train.jsonl", "t.jsonl")))
        shape: dict[str, Any] = {"task": "classify", "virtual_tokens": 20, "steps": 300, "batch_size": 32}
        return TrainConfig(model=str(embedded_model()), data=str(train), method=method, save_every=0, **shape), test
    train = as_jsonl(shared("data/e2e_nlg/devset.csv", root), folder / "train.jsonl")
    test = as_jsonl(shared("data/e2e_nlg/testset_w_refs.csv", root), folder / "test.jsonl", TEST_ROWS)
    shape = {"task": "generate", "virtual_tokens": VIRTUAL_TOKENS[method], "steps": 400, "batch_size": 16}
    model = str(shared("models/stories260K-hf", root))
    return TrainConfig(model=model, data=str(train), method=method, save_every=0, **shape), test


def figures(config: TrainConfig, test: Path, folder: Path, weights: Weights, steps: int) -> dict[str, Any]:
    def tuned(name: str, **changes: Any) -> Adapter:
        train_into(folder / name, replace(config, **changes), base=load_base(config.model, config.task))
        return load_adapter(folder / name)

    def shipped(name: str, adapter: Adapter, weights: Weights) -> dict[str, float]:
        export_bundle(load_base(config.model, config.task), {"a": adapter}, folder / name, weights=weights)
        found = evaluate_bundle(folder / name, test, "a")
        return {key: found[key] for key in ("loss", "accuracy") if key in found}

    adapter = tuned("adapter")
    again = recovered(load_base(config.model, config.task), adapter, folder / "adapter", weights, steps)
    options = {"base_precision": weights.precision, "base_block_size": weights.block_size}
    found = {
        "fp32": shipped("fp32", adapter, Weights()),
        "plain": shipped("plain", adapter, weights),
        "recovered": shipped("recovered", again, weights),
        "tuned_for_it": shipped("other", tuned("against", **options), weights),
    }
    for name in ("recovered", "tuned_for_it"):
        for key, sign in (("loss", 1), ("accuracy", -1)):
            if key in found["fp32"] and found["plain"][key] != found["fp32"][key]:
                lost = sign * (found[name][key] - found["fp32"][key]), sign * (found["plain"][key] - found["fp32"][key])
                found[name][f"{key}_lost"] = round(lost[0] / lost[1], 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--recover", type=int, default=200, help="steps")
    parser.add_argument("--block-size", type=int, default=Weights().block_size)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--shared", type=Path, default=SHARED)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    weights = Weights("int4", block_size=options.block_size)
    for case in options.cases:
        for method in options.methods:
            for seed in options.seeds:
                with tempfile.TemporaryDirectory() as name:
                    config, test = case_of(case, method, Path(name), options.shared)
                    found = figures(replace(config, seed=seed), test, Path(name), weights, options.recover)
                told = {"case": case, "method": method, "seed": seed, "recover": options.recover, **found}
                print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
