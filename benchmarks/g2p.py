"""American letters-to-sounds adapted to British: a prefix in three places, PEFT's in the decoder, full fine-tuning.

    python benchmarks/g2p.py [--systems edgetune edgetune-small peft full] [--steps 1500] [--seeds 0 1 2]

The model is misaki's BART of 751,488 parameters; rows are the British dictionary's words whose sounds its vocabulary
can write. Held-out words are those among them that the American dictionary writes otherwise or lacks: there is
something to learn. Exact match is of whole words, decoded greedily: edgetune's by the runtime from the exported
bundle, the others' by torch. PEFT's prefix takes positions of the decoder, which has 64: it can hold 30 tokens, 7,680
parameters, and is held against edgetune's prefix of 10, as many (`edgetune-small`). PEFT has the best of three learning
rates on the first seed.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import edgetune_runtime
import torch
from edgetune_export.bundle import export_bundle
from places import SHARED, shared
from torch.nn.functional import cross_entropy

from edgetune.adapter import load_adapter
from edgetune.config import TrainConfig
from edgetune.data.rows import PromptCompletion
from edgetune.models.base import Base, load_base
from edgetune.training.batches import Batch, batch_of, shuffled
from edgetune.training.loop import rate_at
from edgetune.training.pairs import pair_examples
from edgetune.training.result import train_into

VIRTUAL_TOKENS = {"edgetune": 29, "edgetune-small": 10}
"""In each of three places of one layer: 2 · 128 · 29 · 3 = 22,272 parameters, 2.96 % of the model, and 7,680."""
PEFT_TOKENS = 30
"""2 · 128 · 30 = 7,680 parameters in the decoder alone."""
RATES = {"peft": (5e-2, 2e-1, 5e-1), "full": (1e-3,)}
RATE = 0.3
"""Of edgetune: of 0.02, 0.05, 0.2, 0.3 and 0.5 the best on training words."""
BATCH, WARMUP, TEST_ROWS, LONGEST = 64, 0.1, 3000, 34

SYSTEMS = ("edgetune", "edgetune-small", "peft", "full")

Word = tuple[str, str]
"""Letters and British sounds."""


def words(root: Path) -> tuple[list[Word], list[Word]]:
    """Training words, of those with one pronunciation that the model's symbols can write; held-out words, British."""
    folder = shared("models/misaki-g2p-bart-us", root)
    letters, sounds = (
        set(json.loads((folder / name).read_text("utf-8"))["model"]["vocab"])
        for name in ("tokenizer.json", "target_tokenizer.json")
    )
    entries, american = (
        json.loads(shared(f"data/misaki-g2p/{name}_gold.json", root).read_text("utf-8")) for name in ("gb", "us")
    )
    found = [(w, p) for w, p in entries.items() if isinstance(p, str) and set(w) <= letters and set(p) <= sounds]
    random.Random(0).shuffle(found)
    return found[TEST_ROWS:], [(w, p) for w, p in found[:TEST_ROWS] if american.get(w) != p]


def exact(got: Sequence[str], rows: Sequence[Word]) -> float:
    return sum(text == sounds for text, (_, sounds) in zip(got, rows)) / len(rows)


def written_by(bundle: Path, rows: Sequence[Word], adapter: str | None) -> list[str]:
    model = edgetune_runtime.load(bundle)
    return [a.text for a in model.generate([w for w, _ in rows], adapter=adapter, max_new_tokens=LONGEST)]


def edgetune_run(
    system: str, base: Base, train: Sequence[Word], test: Sequence[Word], options: Any, seed: int
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "train.jsonl"
        data.write_text("".join(json.dumps({"prompt": w, "completion": p}) + "\n" for w, p in train), "utf-8")
        config = TrainConfig(
            model=base.name, data=str(data), task="generate", method="prefix", virtual_tokens=VIRTUAL_TOKENS[system],
            init="random", steps=options.steps, batch_size=BATCH, seed=seed, save_every=0,
            learning_rate=options.learning_rate,
        )  # fmt: skip
        adapter, outcome = train_into(folder / "british", config, base=base)
        export_bundle(base, {"british": load_adapter(folder / "british")}, folder / "bundle")
        got = written_by(folder / "bundle", test, "british")
        before = exact(written_by(folder / "bundle", test, None), test)
    return {
        "rate": config.peak_learning_rate, "parameters": adapter.parameters, "before": before,
        "exact_match": exact(got, test), "seconds": round(outcome.seconds),
    }  # fmt: skip


def torch_run(
    system: str, base: Base, train: Sequence[Word], test: Sequence[Word], options: Any, seed: int, rate: float
) -> dict[str, Any]:
    """PEFT's prefix or full fine-tuning, on the batches that edgetune draws with the same seed."""
    from transformers import AutoModelForSeq2SeqLM

    torch.manual_seed(seed)
    made: Any = AutoModelForSeq2SeqLM.from_pretrained(base.name, dtype=torch.float32)
    if system == "peft":
        from peft import PrefixTuningConfig, TaskType, get_peft_model

        made = get_peft_model(made, PrefixTuningConfig(task_type=TaskType.SEQ_2_SEQ_LM, num_virtual_tokens=PEFT_TOKENS))
    learned = [p for p in made.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=rate, weight_decay=0.0)
    rows = [PromptCompletion(w, p) for w, p in train]
    batches = shuffled(pair_examples(base, rows, None, "words"), BATCH, base.pad_token_id, random.Random(seed))
    made.train()
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * rate_at(step, options.steps, WARMUP)
        batch = next(batches)
        optimizer.zero_grad()
        cross_entropy(logits(made, batch)[batch.predicts], batch.targets).backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
    made.eval()
    got = [text for part in parts(test, 500) for text in greedy(made, base, [w for w, _ in part])]
    return {"rate": rate, "parameters": sum(p.numel() for p in learned), "exact_match": exact(got, test)}


def logits(made: Any, batch: Batch) -> torch.Tensor:
    return made(input_ids=batch.input_ids, attention_mask=batch.mask, decoder_input_ids=batch.decoder_ids).logits


def parts(rows: Sequence[Word], count: int) -> Iterator[Sequence[Word]]:
    return (rows[i : i + count] for i in range(0, len(rows), count))


@torch.no_grad()
def greedy(made: Any, base: Base, texts: Sequence[str]) -> list[str]:
    """The likeliest tokens one by one; the decoder reads all of them anew each time, so no cache is trusted."""
    batch = batch_of(pair_examples(base, [PromptCompletion(t, "w") for t in texts], None, "words"), base.pad_token_id)
    end = base.eos_token_ids[0]
    found = batch.decoder_ids[:, :1]  # type: ignore[index]
    while found.shape[1] < LONGEST and not bool((found == end).any(1).all()):
        out = made(input_ids=batch.input_ids, attention_mask=batch.mask, decoder_input_ids=found).logits
        found = torch.cat([found, out[:, -1:].argmax(-1)], dim=1)
    ended = [ids[1 : ids.index(end, 1)] if end in ids[1:] else ids[1:] for ids in found.tolist()]
    return [base.target_tokenizer.decode(ids, skip_special_tokens=True) for ids in ended]


def runs_of_peer(system: str, seeds: Sequence[int], run: Callable[[int, float], dict[str, Any]]) -> None:
    """Prints the first seed at each of the system's learning rates, and the others at the best of them."""
    found = {rate: run(seeds[0], rate) for rate in RATES[system]}
    for figures in found.values():
        print(json.dumps({"system": system, "seed": seeds[0], **figures}), flush=True)
    rate = max(found, key=lambda rate: found[rate]["exact_match"])
    for seed in seeds[1:]:
        print(json.dumps({"system": system, "seed": seed, **run(seed, rate)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--learning-rate", type=float, default=RATE, help="edgetune's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--shared", type=Path, default=SHARED)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    base = load_base(str(shared("models/misaki-g2p-bart-us", options.shared)), "generate")
    train, test = words(options.shared)
    print(json.dumps({"train_words": len(train), "held_out_words": len(test), "parameters": base.parameters}))
    for system in options.systems:
        if system in RATES:
            runs_of_peer(system, options.seeds, partial(torch_run, system, base, train, test, options))
            continue
        for seed in options.seeds:
            figures = edgetune_run(system, base, train, test, options, seed)
            print(json.dumps({"system": system, "seed": seed, "steps": options.steps, **figures}), flush=True)


if __name__ == "__main__":
    main()
