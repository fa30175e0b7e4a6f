"""Whether data larger than memory is trained on in little memory: a synthetic JSONL of gigabytes, and one run on it.

    python benchmarks/streaming.py --gigabytes 2 [--shards 4] [--steps 50] [--data FOLDER]

Prints the bytes of the files, how long the run took, and the most that its process had in memory (resident, the base
and Python included), with the rows of its loss. With `--data` the files are kept there and taken again.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WORDS = ("stream", "data", "row", "token", "prefix", "model", "device", "edge", "runtime", "graph", "cache", "layer")
LABELS = ("alarm", "music", "news", "weather")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--model", help="Left out: MiniLM, from its package.")
    parser.add_argument("--data", type=Path, help="Where the files are kept.")
    options = parser.parse_args()
    from edgetune.data.demo import embedded_model

    with folder(options.data) as data, tempfile.TemporaryDirectory() as out:
        shards = written(data, options.gigabytes, options.shards)
        size = sum(path.stat().st_size for path in shards)
        print(f"{len(shards)} files, {size / 1e9:.2f} GB", flush=True)
        command = [sys.executable, "-m", "edgetune", "train", "--model", options.model or str(embedded_model()),
                   "--data", str(data / "part-*.jsonl"), "--task", "classify", "--steps", str(options.steps),
                   "--out", f"{out}/adapter"]  # fmt: skip
        began = time.perf_counter()
        run = subprocess.Popen(command)
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        if run.returncode:
            raise SystemExit(f"the run ended with {run.returncode}")
        print(f"{options.steps} steps of 32 rows in {seconds:.0f} s; at most {used.ru_maxrss / 1e6:.2f} GB resident")


@contextmanager
def folder(kept: Path | None) -> Iterator[Path]:
    if kept:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
    else:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)


def written(data: Path, gigabytes: float, count: int) -> list[Path]:
    """The files; those that are there already are taken."""
    paths = [data / f"part-{number}.jsonl" for number in range(count)]
    for number, path in enumerate(paths):
        if path.exists():
            continue
        chance, left = random.Random(number), int(gigabytes * 1e9 / count)
        with path.with_suffix(".partial").open("w", encoding="utf-8") as file:
            while left > 0:
                label = chance.choice(LABELS)
                text = " ".join([label, *chance.choices(WORDS, k=chance.randint(10, 80))])
                left -= file.write(json.dumps({"text": text, "label": label}) + "\n")
        path.with_suffix(".partial").rename(path)
    return paths


if __name__ == "__main__":
    main()
