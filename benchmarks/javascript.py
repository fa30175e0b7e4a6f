"""The JavaScript runtime beside transformers.js, in Node and Chromium: the 135 M shape of SmolLM, engines in turn.

    cd benchmarks/javascript && npm install --ignore-scripts     # once; needs Node 20, and Chromium for the browser
    python benchmarks/javascript.py --optimum-python OPTIMUM/bin/python [--where node chromium] [--threads 1 2]

Both run the same weights: ours as bundles, theirs as Optimum's export, rounded as transformers.js's own script does it.
Prompt and steps a second are medians of the rounds with their range; `MB resident` is the process's, of a browser the
page's, after all rounds; `next task` is how long it takes until another task can be asked: an adapter file is read, or
the other model loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from edgetune_runtime.manifest import read_manifest

from edgetune.bench.machine import bandwidth_gb_s
from edgetune.models.rounding import Weights

sys.path.insert(0, str(Path(__file__).parent))
from artefacts import Artefacts, Pythons
from engines import prompt_ids
from places import size_mb
from random_tasks import write_task
from talking import Talking

SCRIPTS = Path(__file__).with_name("javascript")
OURS = {
    "fp32": ("edgetune-fp32", Weights()),
    "int4": ("edgetune-int4-64", Weights("int4", block_size=64)),
    "int8": ("edgetune-int8-columns", Weights("int8", block_size=0)),
}
THEIRS = {"fp32": ("fp32", "model.onnx"), "int4": ("q4", "model_q4.onnx"), "int8": ("q8", "model_quantized.onnx")}
"""transformers.js's names."""


@dataclass
class Engine(Talking):
    """Ours or theirs."""

    next_s: float = 0.0
    resident_mb: float = 0.0

    def put(self, *question: Any) -> Any:
        return self.ask(json.dumps(question))

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def resident_mb(process: int) -> float:
    """Of the process, or of the largest one below it: a page has one of its own."""
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True
    ).stdout.split()
    status = Path(f"/proc/{process}/status").read_text()
    own = next((int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)
    return max([own, *(resident_mb(int(child)) for child in children if Path(f"/proc/{child}").exists())])


def started(where: str, whose: str, precision: str, threads: int, made: Artefacts) -> Engine:
    command = ["node", str(SCRIPTS / f"{where}.mjs"), whose]
    if whose == "ours":
        path = made.bundle(*OURS[precision])
        adapter = made.folder / "next.safetensors"
        write_task(adapter, read_manifest(path), "next", 0)
        command += [str(path), "--adapter", str(adapter)]
        size = size_mb(path)
    else:
        path = made.transformers_js()
        dtype, file = THEIRS[precision]
        command += [str(path), "--dtype", dtype]
        size = size_mb(path / "onnx" / file)
    name = f"{'edgetune' if whose == 'ours' else 'transformers.js'} {precision}"
    command += ["--threads", str(threads)]
    return Engine(name, size, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))


def measured(where: str, precision: str, threads: int, made: Artefacts, given: argparse.Namespace) -> list[Engine]:
    """Both of one precision, in turn, after one turn each that does not count."""
    engines = [started(where, whose, precision, threads, made) for whose in ("ours", "theirs")]
    made.forget()
    question = ("turn", prompt_ids(given.prompt), given.new)
    for engine in engines:
        engine.put(*question)
    for number in range(given.rounds):
        for engine in engines if number % 2 else reversed(engines):
            prompt_s, steps_s, _ = engine.put(*question)
            engine.turns.append((given.prompt / prompt_s, given.new / steps_s))
    for engine in engines:
        engine.resident_mb = resident_mb(engine.process.pid)
        engine.next_s = statistics.median(engine.put("next") for _ in range(3))
    for engine in engines:
        engine.end()
    return engines


def row(engine: Engine, other: Engine | None) -> str:
    """With ratios to the other where it is given."""
    columns = list(zip(*engine.turns))
    cells = [f"{statistics.median(x):.1f} ({min(x):.1f}–{max(x):.1f})" for x in columns]
    cells += [f"{engine.resident_mb:.0f}", f"{engine.next_s * 1e3:.1f}"]
    ratios = ""
    if other is not None:
        rates = [statistics.median(a) / statistics.median(b) for a, b in zip(columns, zip(*other.turns))]
        ratios = f"{rates[0]:.2f}, {rates[1]:.2f}, {engine.resident_mb / other.resident_mb:.2f}"
    return f"| {engine.name} | {engine.size_mb:.1f} | {' | '.join(cells)} | {ratios} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimum-python", default=sys.executable, help="has optimum-onnx")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/edgetune-generation"), help="where models are kept")
    parser.add_argument("--where", nargs="+", default=["node", "chromium"], choices=["node", "chromium"])
    parser.add_argument("--precision", nargs="+", default=list(OURS), choices=list(OURS))
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new", type=int, default=64)
    given = parser.parse_args()
    if not (SCRIPTS / "node_modules").exists():
        raise SystemExit(f"{SCRIPTS / 'node_modules'} is absent: cd {SCRIPTS} && npm install --ignore-scripts")
    made = Artefacts(given.folder, Pythons(sys.executable, given.optimum_python))
    load = os.getloadavg()[0]
    torch.set_num_threads(max(given.threads))
    print(
        f"prompt {given.prompt}, {given.new} steps, medians of {given.rounds} (range); "
        f"read bandwidth {bandwidth_gb_s(rounds=2):.1f} GB/s; load before: {load:.1f}"
    )
    for where in given.where:
        for threads in given.threads:
            print(f"\n{where}, {threads} thread{'s' * (threads > 1)}\n")
            print("| | MB | prompt tok/s | step tok/s | MB resident | next task, ms | prompt, step, memory ÷ theirs |")
            print("| --- | --- | --- | --- | --- | --- | --- |")
            versions: list[str] = []
            for precision in given.precision:
                ours, theirs = measured(where, precision, threads, made, given)
                versions += [ours.version, theirs.version]
                print(row(ours, theirs), row(theirs, None), sep="\n", flush=True)
            print("\n" + "; ".join(dict.fromkeys(versions)))


if __name__ == "__main__":
    main()
