"""64 threads on one model: 10,000 requests, adapters that come and go, cancellations, streams; every answer compared.

    python benchmarks/stress.py [--bundle BUNDLE] [--threads 64] [--requests 10000] [--adapter-memory-limit BYTES]
    python benchmarks/stress.py --minutes 30        a soak: until that time has gone by, however many requests it takes

The requests are drawn from a few hundred that one thread alone was asked before, in batches of one to four texts with
mixed adapters: every answer has to be that one's, bit for bit (tokens, text, log-probabilities, scores), a
cancelled one's a beginning of it. Under way adapters are added, used, replaced, used and removed, names that others
are using are replaced and removed, and with a limit tensors are let go and read again. Memory is told after every
tenth of the requests, beside the open files and the mapped adapters; what it grew by after the first fifth is the leak.
Without --bundle, the golden bundles of the tests, a decoder and an encoder, each in a process of its own and with a
limit that holds two adapters. Ends with status 1 where an answer was wrong or an error came up.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import edgetune_runtime

from edgetune.bench.machine import resident_bytes

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from references.asks import drawn_asks, written_contents
from references.crowd import Crowd, answers_of

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ("decoder-shared", "encoder-shared")
PARTS = 10
ROUND = 500
"""Requests of a soak between two looks at the clock."""


def model_with(bundle: Path, files: dict[str, Path], given: argparse.Namespace, limit: int | None) -> Any:
    """The bundle's model with each content under its own name."""
    model = edgetune_runtime.load(bundle, threads=given.model_threads, adapter_memory_limit=limit)
    for content, path in files.items():
        model.add_adapter(path, content)
    return model


def open_files() -> tuple[int, int]:
    """Open file descriptors, and mapped adapter files; 0 where the system does not say."""
    descriptors, maps = Path("/proc/self/fd"), Path("/proc/self/maps")
    if not maps.exists():
        return 0, 0
    return len(list(descriptors.iterdir())), sum(".safetensors" in line for line in maps.read_text().splitlines())


def done_after(part: int, done: int, crowd: Crowd, given: argparse.Namespace, began: float) -> int:
    """Requests made when that part of them, or of a soak's minutes, is over; `done` were before."""
    if given.minutes is None:
        until = given.requests * part // PARTS
        crowd.run(given.threads, done, until)
        return until
    while time.perf_counter() - began < part * 60 * given.minutes / PARTS:
        crowd.run(given.threads, done, done + ROUND)
        done += ROUND
    return done


def stressed(bundle: Path, given: argparse.Namespace) -> bool:
    """Whether all went well; tells how it went."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = edgetune_runtime.load(bundle, threads=1, verify=False).manifest
        own = {name: bundle / file for name, file in manifest.adapters.items()}
        files = written_contents(own, Path(folder), given.variants)
        asks = drawn_asks(
            alone := model_with(bundle, files, given, None), list(files), given.asks, given.new_tokens, given.seed
        )
        expected = answers_of(alone, asks, files)
        del alone
        model = model_with(bundle, files, given, given.adapter_memory_limit)
        crowd = Crowd(model, asks, expected, files)
        print(
            f"\n{bundle.name}: {given.threads} threads, {given.requests} requests drawn from {len(asks)}, "
            f"{len(expected)} answers of one thread, adapters in memory at most: {given.adapter_memory_limit}"
        )
        print(f"{'requests':>8} {'seconds':>8} {'resident MB':>12} {'files':>6} {'mapped adapters':>16}")
        sizes, began = [], time.perf_counter()
        done, counted = 0, []
        for part in range(PARTS + 1):
            done = done_after(part, done, crowd, given, began)
            told = time.perf_counter() - began
            sizes.append(resident_bytes() / 1e6)
            counted.append(open_files())
            print("{:>8} {:>8.1f} {:>12.1f} {:>6} {:>16}".format(done, told, sizes[-1], *counted[-1]), flush=True)
        # a mapped adapter has its file open for as long as it is in use
        first, last = (files - mapped for files, mapped in (counted[len(counted) // 5], counted[-1]))
        print(
            f"grew after the first fifth: {sizes[-1] - sizes[len(sizes) // 5]:+.1f} MB, {last - first:+d} open files "
            "beside the mapped ones"
        )
        print("requests: " + ", ".join(f"{kind} {crowd.counts[kind]}" for kind in sorted(crowd.answered)))
        changes = sorted(set(crowd.counts) - crowd.answered)
        print("adapters: " + ", ".join(f"{change} {crowd.counts[change]}" for change in changes))
        print("\n".join(crowd.wrong[:20]) or "every answer was that of one thread")
        return not crowd.wrong and last <= first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="of the shared form")
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, help="a soak, in place of a number of requests")
    parser.add_argument("--model-threads", type=int, default=1, help="of onnxruntime")
    parser.add_argument("--adapter-memory-limit", type=int, metavar="BYTES")
    parser.add_argument("--asks", type=int, default=150, help="different requests")
    parser.add_argument("--variants", type=int, default=2, help="adapters made of each of the bundle's")
    parser.add_argument("--new-tokens", type=int, default=24, help="at most")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.bundle:
        sys.exit(not stressed(given.bundle, given))
    ends = []
    for name in GOLDEN:
        bundle = ROOT / "tests" / "golden" / name
        limit = 2 * max(path.stat().st_size for path in (bundle / "adapters").iterdir())
        command = [sys.executable, __file__, *sys.argv[1:], "--bundle", bundle, "--adapter-memory-limit", str(limit)]
        ends.append(subprocess.run(command, env=dict(os.environ)).returncode)
    sys.exit(any(ends))


if __name__ == "__main__":
    main()
