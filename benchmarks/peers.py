"""Generation beside its peers: the 135 M shape of SmolLM, a prompt of 128 tokens, 128 steps, all engines in turn.

    python benchmarks/peers.py --peers-python PEERS/bin/python --optimum-python OPTIMUM/bin/python [--sample]
        [--prompt 1024] [--plot peers.svg]

Each engine stays in a process of its own interpreter (engines.py) and is given its turn round after round; the
machine's read bandwidth is measured in every round too. Medians, their spread and ratios are printed as a table for
docs/speed.md, and drawn. With `--sample` all draw their tokens (temperature 0.8, top-k 40, top-p 0.95) but for the bare
loops. What the engines run is made once, into `--folder` (remove it when the export has changed). A peer that
is not installed is left out in one line. `--only` names some of the engines. README.md says how to set up the peers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from edgetune.bench.machine import bandwidth_gb_s
from edgetune.models.rounding import Weights

sys.path.insert(0, str(Path(__file__).parent))
from artefacts import Artefacts, Pythons
from peers_plot import Bar, bar_plot
from places import size_mb
from talking import Talking

ENGINES_FILE = Path(__file__).with_name("engines.py")
QUIET_LOAD = 0.5
"""Load of the machine, before anything is started, above which the table says that others were at work."""


@dataclass(frozen=True)
class Kind:
    """One row of the table: which engine of engines.py, what it needs, what it runs, and in how many bits."""

    engine: str
    bits: str
    artefact: Callable[[Artefacts], Path]
    needs: tuple[str, str] | None = None


def ours(weights: Weights, name: str) -> Callable[[Artefacts], Path]:
    return lambda made: made.bundle(name, weights)


INT4 = {size: ours(Weights("int4", block_size=size), f"edgetune-int4-{size}") for size in (32, 64, 128)}
FP32 = ours(Weights(), "edgetune-fp32")
KINDS = {
    "edgetune int4, block 128": Kind("ours", "int4", INT4[128]),
    "edgetune int4, block 64": Kind("ours", "int4", INT4[64]),
    "edgetune int4, block 32": Kind("ours", "int4", INT4[32]),
    "bare loop, edgetune block 64": Kind("loop", "int4", lambda made: INT4[64](made) / "model.onnx"),
    "bare loop, edgetune block 32": Kind("loop", "int4", lambda made: INT4[32](made) / "model.onnx"),
    "bare loop, genai's graph": Kind("loop", "int4", lambda made: made.genai("int4") / "model.onnx",
                                     ("peers", "onnxruntime_genai")),
    "genai int4": Kind("genai", "int4", lambda made: made.genai("int4"), ("peers", "onnxruntime_genai")),
    "genai, edgetune block 64": Kind("genai", "int4", INT4[64], ("peers", "onnxruntime_genai")),
    "llama.cpp Q4_0": Kind("llama", "int4", lambda made: made.gguf("q4_0"), ("peers", "llama_cpp")),
    "edgetune fp32": Kind("ours", "fp32", FP32),
    "bare loop, edgetune fp32": Kind("loop", "fp32", lambda made: FP32(made) / "model.onnx"),
    "genai fp32": Kind("genai", "fp32", lambda made: made.genai("fp32"), ("peers", "onnxruntime_genai")),
    "llama.cpp f32": Kind("llama", "fp32", lambda made: made.gguf("f32"), ("peers", "llama_cpp")),
    "optimum fp32": Kind("optimum", "fp32", lambda made: made.optimum(), ("optimum", "optimum.onnxruntime")),
    "torch fp32": Kind("torch", "fp32", lambda made: made.checkpoint()),
    "torch + PEFT, prefix": Kind("peft", "fp32", lambda made: made.checkpoint()),
}  # fmt: skip
PEERS = {"int4": ("genai int4", "llama.cpp Q4_0"), "fp32": ("genai fp32", "llama.cpp f32", "torch fp32")}


@dataclass
class Engine(Talking):
    """One of the rows; a turn is what it took, seconds of the prompt and of the steps."""

    kind: Kind = field(kw_only=True)
    tokens: list[int] = field(default_factory=list)

    def turn(self, *, counts: bool) -> None:
        prompt_s, steps_s, self.tokens = self.ask()
        if counts:
            self.turns.append((prompt_s, steps_s))


def started(name: str, kind: Kind, made: Artefacts, given: argparse.Namespace) -> Engine | None:
    """None, after a line that says so, where the peer is absent."""
    python = sys.executable
    if kind.needs:
        where, module = kind.needs
        python = getattr(made.pythons, where)
        if not made.pythons.has(python, module):
            print(f"{name} is left out: {python} has no {module}; --{where}-python names an interpreter that has it")
            return None
    path = kind.artefact(made)
    weights = path.parent if path.suffix == ".onnx" else path
    environment = {name: value for name, value in os.environ.items() if kind.engine == "ours" or name != "PYTHONPATH"}
    command = [
        python, str(ENGINES_FILE), kind.engine, str(path), "--threads", str(given.threads),
        "--prompt", str(given.prompt), "--new", str(given.new), *(["--sample"] if given.sample else []),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    return Engine(name, size_mb(weights), process, kind=kind)


def measured(engines: list[Engine], given: argparse.Namespace) -> float:
    """The turns of every engine, after one each that does not count; the median of the bandwidths, GB/s."""
    torch.set_num_threads(given.threads)
    for engine in engines:
        engine.turn(counts=False)
    bandwidths = []
    for number in range(given.rounds):
        bandwidths.append(bandwidth_gb_s(rounds=2))
        for engine in engines if number % 2 else reversed(engines):
            engine.turn(counts=True)
        print(f"round {number + 1} of {given.rounds}", end="\r", file=sys.stderr, flush=True)
    return statistics.median(bandwidths)


def rates(engine: Engine, given: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Tokens per second of the prompt and of the steps, a turn each."""
    return [given.prompt / x for x, _ in engine.turns], [given.new / x for _, x in engine.turns]


def table(engines: list[Engine], bandwidth: float, given: argparse.Namespace) -> str:
    """Markdown; the last columns hold each row to the peers of its precision."""
    medians = {e.name: tuple(statistics.median(x) for x in rates(e, given)) for e in engines}
    lines = [
        "| | MB | prompt tok/s | step tok/s | of bandwidth ÷ bytes | prompt and step ÷ peer's |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for engine in engines:
        prompt, step = rates(engine, given)
        limit = bandwidth * 1e3 / engine.size_mb
        ratios = [
            f"{peer}: " + ", ".join(f"{own / theirs:.2f}" for own, theirs in zip(medians[engine.name], medians[peer]))
            for peer in PEERS[engine.kind.bits]
            if peer in medians and peer != engine.name
        ]
        lines.append(
            f"| {engine.name} | {engine.size_mb:.1f} | {spread(prompt)} | {spread(step)} | "
            f"{statistics.median(step) / limit:.2f} | {' · '.join(ratios)} |"
        )
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-python", default=sys.executable, help="has onnxruntime-genai, llama-cpp-python, gguf")
    parser.add_argument("--optimum-python", default=sys.executable, help="has optimum-onnx")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/edgetune-generation"), help="where models are kept")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="ENGINE")
    parser.add_argument("--sample", action="store_true", help="draw tokens instead of taking the likeliest")
    parser.add_argument("--plot", type=Path, help="an SVG to write")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    made = Artefacts(given.folder, Pythons(given.peers_python, given.optimum_python))
    engines = [x for name in given.only if (x := started(name, KINDS[name], made, given)) is not None]
    made.forget()
    bandwidth = measured(engines, given)
    print(
        f"{given.threads} threads, prompt {given.prompt}, {given.new} steps, medians of {given.rounds} (range); "
        f"read bandwidth {bandwidth:.1f} GB/s; load before: {load:.1f}"
        + (" (others were at work: only ratios mean something)" if load > QUIET_LOAD else "")
    )
    print("; ".join(dict.fromkeys(engine.version for engine in engines)) + "\n")
    print(table(engines, bandwidth, given))
    if given.plot:
        bars = [Bar(e.name, e.kind.engine == "ours", *map(statistics.median, rates(e, given))) for e in engines]
        given.plot.write_text(bar_plot(bars, given.prompt), encoding="utf-8")
    floats = {tuple(engine.tokens) for engine in engines if engine.kind.bits == "fp32" and engine.kind.engine != "peft"}
    if not given.sample:
        print(f"\nfp32: {'all wrote the same tokens' if len(floats) < 2 else f'{len(floats)} different texts'}")
    for engine in engines:
        engine.process.terminate()


if __name__ == "__main__":
    main()
