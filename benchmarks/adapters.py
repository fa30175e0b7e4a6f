"""Many tasks on one base: switching between them, a thousand of them in memory, eight of them in one batch.

    python benchmarks/adapters.py [--bundle BUNDLE …] [--threads 2]

**Switch**: calls on one token go A A B B A A …; told is the median call whose adapter is another than that of the call
before, less the median call whose adapter is the same, and the range in which that difference lies nine times of ten
(bootstrap). Both kinds do the same work, since nothing of an adapter is kept between calls; so that work is told too:
finding it by name and copying its keys, values and head to where the graph reads them, without the graph, the mean of
turns through eight adapters. **Memory**: what a fresh process's resident set grows by when 1,000 prefixes of ten tokens
come, over the bytes of their files: added one by one, and listed in the bundle and read by `warm_up`. **Batch**: eight
texts with a task each, and eight with the same task, in turn. All tasks are random. Without --bundle, MiniLM-L6 in fp32
and int8 with 77 labels, and the 135 M shape of SmolLM in int4, made once into --folder.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edgetune_runtime
import numpy as np
from edgetune_runtime.cache import KeyValueCache
from edgetune_runtime.encoder import joined_pasts
from edgetune_runtime.heads import joined_heads
from edgetune_runtime.verification import sha256_of

from edgetune.bench.figures import Plan
from edgetune.bench.machine import bandwidth_gb_s
from edgetune.bench.measuring import answer_of, switch_times, texts_of
from edgetune.models.rounding import Weights

sys.path.insert(0, str(Path(__file__).parent))
from artefacts import Artefacts, Pythons
from random_tasks import classifier, write_task

TASKS, TOKENS, NEW = 8, 16, 32
"""Of a batch; of each text; behind each, of a generator."""
COLUMNS = (
    "switch, µs (range) of a call's", "found and bound, µs", "8 tasks / 8 times one, ms", "throughput ÷",
    "memory ÷ files: added, listed",
)  # fmt: skip
GROWTH = """
import gc, sys
from pathlib import Path

import edgetune_runtime

from edgetune.bench.machine import resident_bytes

bundle, files, way = sys.argv[1], sorted(Path(sys.argv[2]).glob("*.safetensors")), sys.argv[3]
model = edgetune_runtime.load(bundle, threads=1)
model.warm_up([None] if model.kind != "encoder" else None)
if way == "added":
    model.add_adapter(files[0], "one")  # what the first one brings is not the others'
gc.collect()
before = resident_bytes()
if way == "added":
    for file in files[1:]:
        model.add_adapter(file, file.stem)
else:
    model.warm_up([file.stem for file in files[1:]])
gc.collect()
print((resident_bytes() - before) / sum(file.stat().st_size for file in files[1:]))
"""


def switched(model: Any, task: str, names: list[str], count: int) -> str:
    """The difference between calls that switch and calls that do not, with its range, in µs."""
    answer = answer_of(model, task, Plan(new_tokens=1, sampled=False))
    texts = texts_of(model, task, names[0])
    switch_times(answer, texts, names, 10)
    other, same = switch_times(answer, texts, names, count)
    drawn = random.Random(0)
    median = lambda x: statistics.median(drawn.choices(x, k=len(x)))  # noqa: E731
    found = sorted((median(other) - median(same)) * 1e6 for _ in range(400))
    plain = (statistics.median(other) - statistics.median(same)) * 1e6
    return f"{plain:+.0f} ({found[20]:+.0f} to {found[380]:+.0f}) of {statistics.median(same) * 1e6:.0f}"


def bound_us(model: Any, names: list[str], turns: int = 400) -> float:
    """Microseconds for finding an adapter by its name and putting its tensors where the graph reads them."""
    graph = model.manifest.graph
    cache = KeyValueCache(graph.layers, 1, 256, np.float32)

    def bind(name: str) -> None:
        adapter = model.adapter_named(name)
        if model.kind == "encoder":
            joined_pasts([adapter.past], adapter.prefix_tokens, graph.layers, np.float32)
            joined_heads([adapter], graph.hidden_size, np.float32, dense=graph.dense_heads)
        else:
            cache.put_prefix(0, adapter.past)

    start = time.perf_counter()
    for turn in range(turns):
        bind(names[turn % len(names)])
    return (time.perf_counter() - start) / turns * 1e6


def batch_ratio(model: Any, task: str, names: list[str], rounds: int) -> tuple[float, float, float]:
    """Milliseconds of eight different tasks and of eight times the same, medians, and the throughput's ratio."""
    texts = [texts_of(model, task, names[0])(TOKENS, number) for number in range(TASKS)]
    options: dict[str, Any] = {"max_new_tokens": NEW, "min_new_tokens": NEW} if task == "generate" else {}
    call: Callable[..., Any] = model.generate if task == "generate" else model.classify
    ways = {"different": names, "same": [names[0]] * TASKS}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(2 * rounds + 2):
        way = "different" if (number + number // 2) % 2 else "same"
        start = time.perf_counter()
        call(texts, adapter=ways[way], **options)
        if number >= 2:
            times[way].append((time.perf_counter() - start) * 1e3)
    different, same = (statistics.median(times[way]) for way in ways)
    return different, same, same / different


def growth(bundle: Path, files: Path, way: str) -> float:
    """Of the resident set, over the files' bytes."""
    if way == "listed":
        with tempfile.TemporaryDirectory(dir=files.parent) as name:
            copy = Path(name) / "bundle"
            shutil.copytree(bundle, copy, copy_function=os.link)
            (copy / "bundle.json").unlink()
            description = json.loads((bundle / "bundle.json").read_text("utf-8"))
            (copy / "adapters").mkdir(exist_ok=True)
            for file in sorted(files.glob("*.safetensors")):
                os.link(file, copy / "adapters" / file.name)
                place = f"adapters/{file.name}"
                description["adapters"][file.stem] = {"file": place}
                description["files"][place] = {"sha256": sha256_of(file), "size_bytes": file.stat().st_size}
            (copy / "bundle.json").write_text(json.dumps(description), encoding="utf-8")
            return grown(copy, files, way)
    return grown(bundle, files, way)


def grown(bundle: Path, files: Path, way: str) -> float:
    command = [sys.executable, "-c", GROWTH, str(bundle), str(files), way]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout)


def bundles_of(given: argparse.Namespace) -> dict[str, Path]:
    if given.bundle:
        return {path.name: path for path in given.bundle}
    made = Artefacts(given.folder, Pythons(sys.executable, sys.executable))
    found = {f"MiniLM {precision}": classifier(made, precision) for precision in ("fp32", "int8")}
    found["135 M, int4"] = made.bundle("edgetune-int4-64", Weights("int4", block_size=64))
    made.forget()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, nargs="+", help="of the shared form")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/edgetune-tasks"), help="where bundles are kept")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--switches", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=1000, help="adapters in memory; 0: leave them out")
    given = parser.parse_args()
    bundles, load = bundles_of(given), os.getloadavg()[0]
    print(f"{given.threads} threads, read bandwidth {bandwidth_gb_s():.1f} GB/s; load before: {load:.1f}\n")
    print("| | " + " | ".join(COLUMNS) + " |\n" + "| --- " * (len(COLUMNS) + 1) + "|")
    for name, bundle in bundles.items():
        with tempfile.TemporaryDirectory(dir=given.folder if given.folder.exists() else None) as folder:
            files = Path(folder)
            model: Any = edgetune_runtime.load(bundle, threads=given.threads)
            task = "classify" if model.kind == "encoder" else "generate"
            names = [f"task-{number}" for number in range(TASKS)]
            for number, adapter in enumerate(names):
                path = write_task(files / f"{adapter}.safetensors", model.manifest, adapter, number)
                model.add_adapter(path, adapter)
                path.unlink()
            switch, bound = switched(model, task, names, given.switches), bound_us(model, names)
            different, same, ratio = batch_ratio(model, task, names, given.rounds)
            manifest = model.manifest
            del model
            memory = []
            for dtype in (np.float32, np.float16) if given.count else ():
                kept = files / np.dtype(dtype).name
                kept.mkdir()
                for number in range(given.count):
                    write_task(kept / f"task-{number}.safetensors", manifest, f"task-{number}", number, dtype)
                both = [growth(bundle, kept, way) for way in ("added", "listed")]
                memory.append(f"{np.dtype(dtype).name}: " + ", ".join(f"{x:.2f}" for x in both))
                shutil.rmtree(kept)
            cells = [name, switch, f"{bound:.0f}", f"{different:.1f} / {same:.1f}", f"{ratio:.3f}", "; ".join(memory)]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
