"""A classifier of one text beside its peers: MiniLM-L6, 77 labels, ours with a prefix of 10 tokens, theirs without one.

    python benchmarks/encoding.py --optimum-python OPTIMUM/bin/python

torch is eager, with the same prefix. Optimum's is its own export, quantised as it advises for AVX2 (dynamic, per
channel) by the interpreter given, and then run by a bare onnxruntime session in this process, as ours are: all take
turns. Medians in ms and ratios are printed, and the size of graph and weights. Models are made once, into `--folder`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from edgetune_runtime.resources import Resources
from edgetune_runtime.session import open_session

from edgetune.data.demo import embedded_model
from edgetune.models.base import Base, load_base
from edgetune.models.forward import full_mask, hidden_states
from edgetune.models.rounding import Weights
from edgetune.models.virtual import Virtual

sys.path.insert(0, str(Path(__file__).parent))
from artefacts import Artefacts, Pythons, run
from graphs import written
from places import size_mb

TURNS, WARM = 6, 5
PREFIX, LABELS = 10, 77
OURS = {
    "fp32": Weights(),
    "int8": Weights("int8"),
    "int8, table in int4": Weights("int8", keep=(("*word_embeddings*", "int4"),)),
    "int4": Weights("int4"),
}
QUANTISE = """
import sys
from optimum.onnxruntime import ORTModelForSequenceClassification as Model, ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig
Model.from_pretrained(sys.argv[1], export=True).save_pretrained(sys.argv[2] + "/fp32")
how = AutoQuantizationConfig.avx2(is_static=False, per_channel=True)
ORTQuantizer.from_pretrained(sys.argv[2] + "/fp32").quantize(save_dir=sys.argv[2] + "/int8", quantization_config=how)
"""


def optimum_int8(artefacts: Artefacts) -> Path:
    """Its quantised graph."""

    def checkpoint(half: Path) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        torch.manual_seed(0)
        AutoModelForSequenceClassification.from_pretrained(embedded_model(), num_labels=LABELS).save_pretrained(half)
        AutoTokenizer.from_pretrained(embedded_model()).save_pretrained(half)

    source = artefacts.made("classifier", checkpoint)
    python = artefacts.pythons.optimum
    folder = artefacts.made("optimum-classifier", lambda half: run([python, "-c", QUANTISE, source, half]))
    return next((folder / "int8").glob("*.onnx"))


def our_feeds(base: Base, ids: np.ndarray, past: list[np.ndarray]) -> dict[str, np.ndarray]:
    head = np.zeros((LABELS, base.hidden_size), np.float32)
    return {
        "input_ids": ids, "attention_mask": np.ones((1, PREFIX + ids.shape[1]), np.int64),
        "prompt_embeds": np.zeros((1, 0, base.embedding_size), np.float32),
        "head.weight": head, "head.bias": head[:, 0], "head.dense.weight": head[:0], "head.dense.bias": head[:0, 0],
        "head.dense.activation": ids[0, :0],
        **{f"past_key_values.{i // 2}.{('key', 'value')[i % 2]}": x for i, x in enumerate(past)},
    }  # fmt: skip


def eager(base: Base, ids: np.ndarray, past: list[np.ndarray]) -> Callable[[], Any]:
    tensors, text = [torch.from_numpy(x) for x in past], torch.from_numpy(ids)
    virtual = Virtual(prefix=list(zip(tensors[::2], tensors[1::2])))
    mask = full_mask(torch.ones_like(text), virtual)

    def call() -> None:
        with torch.inference_mode():
            hidden_states(base, text, mask, virtual)

    return call


def timed(openers: dict[str, Callable[[], Callable[[], Any]]], rounds: int) -> dict[str, float]:
    """Medians in ms. All take turns, each opened for its turn alone: the threads of an open session wait spinning. The
    first calls of a turn do not count."""
    samples: dict[str, list[float]] = {name: [] for name in openers}
    for _ in range(TURNS):
        for name, opener in openers.items():
            call = opener()
            for number in range(WARM + rounds // TURNS):
                start = time.perf_counter()
                call()
                if number >= WARM:
                    samples[name].append((time.perf_counter() - start) * 1e3)
            del call
    return {name: statistics.median(x) for name, x in samples.items()}


def session_call(path: Path, threads: int, feeds: dict[str, np.ndarray]) -> Callable[[], Any]:
    session = open_session(path, Resources(threads))
    return lambda: session.run(["logits"], {x.name: feeds[x.name] for x in session.get_inputs()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimum-python", default=sys.executable, help="has optimum-onnx")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/edgetune-encoding"), help="where models are kept")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    pythons = Pythons(sys.executable, given.optimum_python)
    base = load_base(str(embedded_model()), "classify")
    paths = {name: written(base, weights, given.folder, name.replace(",", "")) for name, weights in OURS.items()}
    sizes = {name: size_mb(path.parent) for name, path in paths.items()}
    peer: Path | None = None
    if pythons.has(given.optimum_python, "optimum.onnxruntime"):
        peer = optimum_int8(Artefacts(given.folder, pythons))
        sizes["optimum int8"] = size_mb(peer)
    else:
        print(f"optimum is left out: {given.optimum_python} does not have it; --optimum-python names one that does")
    rng, layer = np.random.default_rng(0), base.layers[0]
    shape = (1, layer.key_value_heads, PREFIX, layer.head_size)
    past = [rng.normal(size=shape).astype(np.float32) for _ in range(2 * len(base.layers))]
    names = ["torch", *sizes]
    print(f"{given.threads} threads, onnxruntime {onnxruntime.__version__}, medians of {given.rounds}, ms\n")
    print("| tokens | " + " | ".join(names) + " | int8 ÷ torch, ÷ optimum |\n" + "| --- " * (len(names) + 2) + "|")
    for tokens in (16, 32, 128):
        ids = rng.integers(1000, 20000, (1, tokens))
        feeds = our_feeds(base, ids, past)
        openers: dict[str, Callable[[], Callable[[], Any]]] = {"torch": partial(eager, base, ids, past)}
        for name, path in paths.items():
            openers[name] = partial(session_call, path, given.threads, feeds)
        if peer is not None:
            plain = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
            openers["optimum int8"] = partial(session_call, peer, given.threads, plain)
        found = timed(openers, given.rounds)
        ratios = [found["int8"] / found[name] for name in ("torch", "optimum int8") if name in found]
        cells = [f"{found[name]:.2f}" for name in names] + [", ".join(f"{x:.2f}" for x in ratios)]
        print(f"| {tokens} | " + " | ".join(cells) + " |", flush=True)
    print("| MB | | " + " | ".join(f"{x:.1f}" for x in sizes.values()) + " | |")


if __name__ == "__main__":
    main()
