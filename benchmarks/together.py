"""Many small tasks in one process beside as many runs of their own: time, processor time, accuracy.

    python benchmarks/together.py [--tasks 20] [--steps 60] [--batch-size 4] [--method prefix]

Tasks: SNIPS, the demo's voice commands, and BANKING77 in groups of neighbours in the alphabet, which share a topic.
Each has up to `--rows` rows to train on and `--held-out` to be measured on, once, at the end. By default small tasks:
240 rows, each seen once in 60 steps of 4, a prefix of 20 tokens on MiniLM. Half of the single runs come before that
of all, half after it; each is a command in a process of its own. Processor time is user and system time of the process,
which other work on the machine changes less than the wall's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from intents import TextAndLabel, intents, written
from places import SHARED
from safetensors.torch import load_file

from edgetune.adapter import TENSORS
from edgetune.data.demo import HELD_OUT, TRAIN, embedded_model
from edgetune.data.rows import read_rows

COMMAND = "from edgetune.cli import main; main()"
BOUND = 0.35
"""Of the time of the single runs together, that the one run may take."""

Sets = tuple[list[TextAndLabel], list[TextAndLabel]]


@dataclass(frozen=True)
class Spent:
    wall_s: float
    processor_s: float

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall_s + other.wall_s, self.processor_s + other.processor_s)


def small_tasks(options: argparse.Namespace) -> dict[str, Sets]:
    """By name, training and held-out rows."""
    banking = intents("banking77", options.shared)
    labels, groups = sorted({label for _, label in banking[0]}), options.tasks - 2
    demo: Sets = tuple([(row.text, row.label) for row in read_rows(x, task="classify")] for x in (TRAIN, HELD_OUT))  # type: ignore[assignment]
    found: dict[str, Sets] = {"snips": intents("snips", options.shared), "voice": demo}
    for i in range(groups):
        own = set(labels[i * len(labels) // groups : (i + 1) * len(labels) // groups])
        found[f"banking-{i:02}"] = tuple([row for row in rows if row[1] in own] for rows in banking)  # type: ignore[assignment]
    return {
        name: (sample(train, options.rows), sample(held_out, options.held_out))
        for name, (train, held_out) in found.items()
    }


def sample(rows: list[TextAndLabel], count: int) -> list[TextAndLabel]:
    return random.Random(0).sample(rows, min(count, len(rows)))


def spent_by(arguments: list[str]) -> Spent:
    """What the command took in a process of its own."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"edgetune {' '.join(arguments)}\n{said}")
    return Spent(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)


def accuracy(folder: Path) -> float:
    return json.loads((folder / "log.jsonl").read_text("utf-8").splitlines()[-1])["outcome"]["metrics"]["accuracy"]


def furthest(one: Path, other: Path) -> float:
    """The largest difference of two adapters' numbers."""
    mine, theirs = load_file(one / TENSORS), load_file(other / TENSORS)
    return max((mine[name] - x).abs().max().item() for name, x in theirs.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--method", choices=("prefix", "prompt"), default="prefix")
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--held-out", type=int, default=100)
    parser.add_argument("--shared", type=Path, default=SHARED)
    options = parser.parse_args()
    common = {
        "model": str(embedded_model()), "task": "classify", "method": options.method, "steps": options.steps,
        "batch_size": options.batch_size,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tasks = small_tasks(options)
        lines = [f"{key} = {json.dumps(value)}" for key, value in common.items()]
        for task, (train, held_out) in tasks.items():
            data, dev = written(train, folder / f"{task}.jsonl"), written(held_out, folder / f"{task}-dev.jsonl")
            lines += ["", f"[tasks.{task}]", f'data = "{data.name}"', f'eval_data = "{dev.name}"']
        (folder / "tasks.toml").write_text("\n".join(lines) + "\n", "utf-8")
        flags = [x for key, value in common.items() for x in (f"--{key.replace('_', '-')}", str(value))]
        single, together, names = Spent(0, 0), Spent(0, 0), list(tasks)
        for number, task in enumerate(names):
            if number == len(names) // 2:
                together = spent_by(["train", "--tasks", str(folder / "tasks.toml"), "--out", str(folder / "all")])
                print(json.dumps({"all": vars(together)}), flush=True)
            data, dev = folder / f"{task}.jsonl", folder / f"{task}-dev.jsonl"
            one = spent_by(
                ["train", *flags, "--data", str(data), "--eval-data", str(dev), "--out", str(folder / "one" / task)]
            )
            print(json.dumps({task: vars(one)}), flush=True)
            single += one
        report(options, folder, names, single, together)


def report(options: argparse.Namespace, folder: Path, names: list[str], single: Spent, together: Spent) -> None:
    rows = []
    for name in names:
        one, other = folder / "one" / name, folder / "all" / name
        rows.append((accuracy(one), accuracy(other), furthest(one, other)))
        figures = {"accuracy_alone": rows[-1][0], "accuracy_together": rows[-1][1], "largest_difference": rows[-1][2]}
        print(json.dumps({"task": name, **figures}))
    alone, mixed = (sum(row[i] for row in rows) / len(rows) for i in (0, 1))
    print(json.dumps({
        "tasks": len(names), "steps": options.steps, "batch_size": options.batch_size, "method": options.method,
        "single_wall_s": round(single.wall_s, 1), "together_wall_s": round(together.wall_s, 1),
        "wall_ratio": round(together.wall_s / single.wall_s, 3),
        "single_processor_s": round(single.processor_s, 1), "together_processor_s": round(together.processor_s, 1),
        "processor_ratio": round(together.processor_s / single.processor_s, 3), "bound": BOUND,
        "mean_accuracy_alone": round(alone, 4), "mean_accuracy_together": round(mixed, 4),
        "largest_accuracy_difference": round(max(abs(a - b) for a, b, _ in rows), 4),
        "largest_difference_of_a_number": max(row[2] for row in rows),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
