"""How fast the exported graphs are in a bare onnxruntime loop, precisions alternating, beside the machine's bandwidth.

    python benchmarks/graphs.py                     # the 135 M Llama shape, random weights

The loop is the runtime's own: caches bound in place, logits of the last position alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from edgetune_export.graphs import lean, write_graph
from edgetune_export.quantize import quantized
from edgetune_export.trace import decoder_graph, encoder_graph
from edgetune_runtime.decoder import SharedDecoder
from edgetune_runtime.layer import Layer
from edgetune_runtime.manifest import Graph
from edgetune_runtime.resources import Resources
from edgetune_runtime.session import open_session

from edgetune.bench.machine import bandwidth_gb_s
from edgetune.models.base import Base, base_from
from edgetune.models.rounding import Weights, roundings

sys.path.insert(0, str(Path(__file__).parent))
from places import size_mb

PROMPT, NEW = 128, 128


def llama() -> Base:
    """The 135 M shape of SmolLM with random weights."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        vocab_size=49152, tie_word_embeddings=True, max_position_embeddings=2048, rope_parameters={
            "rope_type": "default", "rope_theta": 1e5},
    )  # fmt: skip
    return base_from(AutoModelForCausalLM.from_config(config), None, "llama-135m", "generate")


def variants(blocks: list[int]) -> dict[str, Weights]:
    found = {"fp32": Weights()}
    for precision in ("int8", "int4"):
        found.update({f"{precision} block {b}": Weights(precision, block_size=b) for b in blocks})
    return found


def written(base: Base, weights: Weights, folder: Path, name: str) -> Path:
    path = folder / name.replace(" ", "-") / "model.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True)
        rounding = roundings(base, weights)
        traced = decoder_graph(base) if base.kind == "decoder" else encoder_graph(base, "mean")
        start = time.perf_counter()
        write_graph(quantized(lean(traced, base, rounding), rounding, weights), path, base, single_file=False)
        print(f"{name}: fused, rounded and written in {time.perf_counter() - start:.1f} s", flush=True)
    return path


def decoder_of(path: Path, base: Base, threads: int) -> SharedDecoder:
    graph = Graph(
        file=path.name, layers=tuple(Layer(x.key_value_heads, x.head_size) for x in base.layers),
        hidden_size=base.hidden_size, embedding_size=base.embedding_size, vocab_size=base.vocab_size,
        max_positions=1024, pooling=None,
    )  # fmt: skip
    return SharedDecoder(open_session(path, Resources(threads)), graph)


def generation(decoder: SharedDecoder, prompt: np.ndarray) -> tuple[float, float]:
    """Tokens per second of the prompt and of greedy steps."""
    start = time.perf_counter()
    logits, state = decoder.prefill([prompt], [None], NEW)
    first = time.perf_counter()
    for _ in range(NEW):
        logits, state = decoder.step(logits.argmax(-1), state)
    return len(prompt) / (first - start), NEW / (time.perf_counter() - first)


def decoders(options: argparse.Namespace) -> None:
    base = llama()
    paths = {n: written(base, w, options.folder, n) for n, w in variants(options.blocks).items()}
    engines = {name: decoder_of(path, base, options.threads) for name, path in paths.items()}
    prompt = np.random.default_rng(0).integers(0, base.vocab_size, PROMPT)
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for decoder in engines.values():
        generation(decoder, prompt)
    bandwidths = []
    for _ in range(options.rounds):
        bandwidths.append(bandwidth_gb_s(rounds=1))
        for name, decoder in engines.items():
            runs[name].append(generation(decoder, prompt))
    bandwidth = statistics.median(bandwidths)
    print(f"read bandwidth {bandwidth:.1f} GB/s; prompt {PROMPT}, {NEW} steps, {options.threads} threads")
    print(f"{'':<16} {'MB':>7} {'prefill tok/s':>14} {'decode tok/s':>13} {'of the limit':>13}")
    for name, measured in runs.items():
        prefill, decode = (statistics.median(x) for x in zip(*measured))
        limit = bandwidth * 1e3 / size_mb(paths[name].parent)
        print(
            f"{name:<16} {size_mb(paths[name].parent):>7.1f} {prefill:>14.1f} {decode:>13.1f} {decode / limit:>13.2f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/edgetune-graphs"), help="where graphs are kept")
    decoders(parser.parse_args())
