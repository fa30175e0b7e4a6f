"""A real model that extracts: stories260K, tuned in full to give back the passage that begins with given words.

    python benchmarks/extractor.py FOLDER [--steps 1600]

A model of 260,032 parameters that was trained on stories copies nothing: its loss on a text that it has just read is
that of the first time, and a prefix of 20 tokens did not change that in 400 steps. So all of its weights are tuned
here. Half of the steps teach it to copy: random tokens to be repeated, a few at first. In the other half it reads a
restaurant's description of E2E NLG and two words of it, and has to write the description from those words on to its
end; a quarter of the rows are still random tokens. Held out are the test set's descriptions.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from places import SHARED, shared
from torch.nn.functional import cross_entropy

BATCH, RATE, WARMUP = 16, 2e-3, 100
LONGEST = 130
"""Characters of a description."""
NEWLINE = 13
"""The id of a line break, in front of what is to come."""
MODEL = "models/stories260K-hf"

Row = tuple[str, str]
"""What is read, and the text that is to come."""


def passages(path: Path, drawn: random.Random) -> list[Row]:
    """One for each description: two words of its first half that stand in it once, and all that follows."""
    with path.open(encoding="utf-8", newline="") as file:
        texts = [
            " ".join({key.lower(): value for key, value in row.items()}["ref"].split()) for row in csv.DictReader(file)
        ]
    found = []
    for text in texts:
        words = text.split(" ")
        place = drawn.randrange(max(1, len(words) // 2))
        begin, rest = " ".join(words[place : place + 2]), " ".join(words[place:])
        if len(text) < LONGEST and text.count(begin) == 1:
            found.append((f"{text}\n{begin}\n", rest))
    return found


def training_rows(root: Path, drawn: random.Random) -> list[Row]:
    return passages(shared("data/e2e_nlg/devset.csv", root), drawn)


def held_out_rows(root: Path, count: int) -> list[Row]:
    """Of texts that were not trained on."""
    rows = passages(shared("data/e2e_nlg/testset_w_refs.csv", root), random.Random(1))
    return random.Random(2).sample(rows, count)


def repeated(length: int, tokenizer: Any, drawn: random.Random) -> tuple[list[int], list[int]]:
    """Token ids that are asked for, and those that are to come: random ones, again."""
    run = [drawn.randrange(3, tokenizer.vocab_size) for _ in range(length)]
    return [tokenizer.bos_token_id, *run, NEWLINE], run


def batch_of(pairs: Sequence[tuple[list[int], list[int]]], end: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B, T], and what each place predicts [B, T]: −100 where it does not count."""
    longest = max(len(a) + len(b) + 1 for a, b in pairs)
    ids, targets = torch.zeros(len(pairs), longest, dtype=torch.long), torch.full((len(pairs), longest), -100)
    for i, (before, after) in enumerate(pairs):
        whole = [*before, *after, end]
        ids[i, : len(whole)] = torch.tensor(whole)
        targets[i, len(before) - 1 : len(whole) - 1] = torch.tensor(whole[len(before) :])
    return ids, targets


def repeats(tokenizer: Any, drawn: random.Random, steps: int) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Batches of random tokens, of a batch as many each, longer and longer."""
    for step in range(steps):
        most = 6 + 34 * step // steps
        length = drawn.randrange(3, most)
        yield [repeated(length, tokenizer, drawn) for _ in range(max(BATCH, 480 // length))]


def passage_batches(
    root: Path, tokenizer: Any, drawn: random.Random, steps: int
) -> Iterator[list[tuple[list[int], list[int]]]]:
    groups: list[list[Row]] = []
    for _ in range(steps):
        if not groups:
            rows = sorted(training_rows(root, drawn), key=lambda row: len(row[0]))  # of like length, little to pad
            groups = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
            drawn.shuffle(groups)
        yield [
            repeated(drawn.randrange(4, 40), tokenizer, drawn)
            if drawn.random() < 0.25
            else (tokenizer(read).input_ids, tokenizer(text, add_special_tokens=False).input_ids)
            for read, text in groups.pop()
        ]


def tuned(root: Path, steps: int, seed: int = 0) -> tuple[Any, Any]:
    """The model and its tokenizer, after half of the steps on repeats and half on passages."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = shared(MODEL, root)
    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    drawn = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    first = steps // 2
    batches = chain(repeats(tokenizer, drawn, first), passage_batches(root, tokenizer, drawn, steps - first))
    for step, pairs in enumerate(batches):
        ids, targets = batch_of(pairs, tokenizer.eos_token_id)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((step + 1) / WARMUP, 1, 2 * (steps - step) / steps)
        optimizer.zero_grad()
        loss = cross_entropy(model(input_ids=ids).logits.flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.3f}", file=sys.stderr, flush=True)
    return model.eval(), tokenizer


def write_extractor(folder: Path, root: Path, steps: int) -> None:
    """Its bundle, in float32, without adapters."""
    from edgetune_export.bundle import export_bundle

    from edgetune.models.base import base_from

    model, tokenizer = tuned(root, steps)
    model.save_pretrained(folder / "checkpoint")
    tokenizer.save_pretrained(folder / "checkpoint")
    export_bundle(base_from(model, tokenizer, "stories260K, tuned to extract", "generate"), {}, folder / "bundle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--shared", type=Path, default=SHARED)
    given = parser.parse_args()
    write_extractor(given.folder, given.shared, given.steps)


if __name__ == "__main__":
    main()
