"""What tuning a prefix takes, measured on Llama shapes, beside the arithmetic of docs/scaling.md.

    python benchmarks/scaling.py [--shapes 135M 362M 1.1B] [--tokens 256] [--threads 2]

Random weights, which cost what trained ones cost. Of each shape one training step on a row of `--tokens`, all of it a
completion: parameters, bytes that the backward pass keeps for each token (counted in torch's graph, each tensor once,
parameters left out), the process's peak, seconds, and how many FLOP a second that is by 4 · N a token. `--plan` prints
the tables of docs/scaling.md from the same functions, for bases and devices that are not here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass

VIRTUAL_TOKENS = 20
STEPS, ROWS, TOKENS = 500, 32, 128
"""Of a run: what `edgetune train` does by default, on rows of a usual length."""


@dataclass(frozen=True)
class Shape:
    """A decoder of Llama's form: L layers, H wide, K key and value heads of D, I wide inside, V tokens."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    inner: int
    vocabulary: int
    tied: bool = True

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    @property
    def kv(self) -> int:
        """K · D."""
        return self.kv_heads * self.head_size

    @property
    def parameters(self) -> int:
        layer = 2 * self.hidden**2 + 2 * self.hidden * self.kv + 3 * self.hidden * self.inner + 2 * self.hidden
        return self.layers * layer + self.hidden + self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def products(self) -> int:
        """Weights that a token is multiplied by: the table is looked up, the head is a product."""
        return self.parameters - (0 if self.tied else self.vocabulary * self.hidden)

    @property
    def kept_floats(self) -> int:
        """Numbers a token that the backward pass through all layers keeps: twice a norm's input and its normalised
        form, query, key and value as attention takes them and its output, and of the gated product both factors,
        what the gate was computed from, and their product's operands. Inputs of frozen products are not among them.
        """
        norms = 2 * 2 * self.hidden
        attention = 2 * self.hidden + 2 * self.kv
        gated = 3 * self.inner
        return self.layers * (norms + attention + gated)

    def adapter_bytes(self, virtual_tokens: int, size: int) -> int:
        """Of a prefix, `size` bytes a number."""
        return 2 * virtual_tokens * self.kv * self.layers * size

    def flops(self, tokens: int) -> float:
        """A token's way forth and back through frozen weights: 2 · N each, none for gradients of weights."""
        return 4.0 * self.products * tokens


SHAPES = {
    "135M": Shape(30, 576, 9, 3, 1536, 49152),
    "362M": Shape(32, 960, 15, 5, 2560, 49152),
    "1.1B": Shape(22, 2048, 32, 4, 5632, 32000, tied=False),
    "8B": Shape(32, 4096, 32, 8, 14336, 128256, tied=False),
    "70B": Shape(80, 8192, 64, 8, 28672, 128256, tied=False),
}
MEASURED = ("135M", "362M", "1.1B")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="*", default=MEASURED, choices=SHAPES)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(step_of(SHAPES[options.one], options.tokens, options.threads)))
        return
    if options.plan:
        plan()
        return
    print("shape   parameters  kept a token: counted, computed   peak: measured, computed   s/step   GFLOP/s")
    for name in options.shapes:
        command = [sys.executable, __file__, "--one", name, "--tokens", str(options.tokens)]
        shape = SHAPES[name]
        found = json.loads(subprocess.check_output([*command, "--threads", str(options.threads)]).splitlines()[-1])
        computed = shape.kept_floats * 4
        peak = found["before"] + shape.parameters * 4 + computed * options.tokens
        print(
            f"{name:<7} {shape.parameters / 1e6:7.1f} M   {found['kept'] / options.tokens / 1e6:6.2f}, "
            f"{computed / 1e6:5.2f} MB ({found['kept'] / options.tokens / computed:.2f})   "
            f"{found['peak'] / 1e9:5.2f}, {peak / 1e9:5.2f} GB ({found['peak'] / peak:.2f})   "
            f"{found['seconds']:6.2f}   {shape.flops(options.tokens) / found['seconds'] / 1e9:6.1f}",
            flush=True,
        )


def step_of(shape: Shape, tokens: int, threads: int) -> dict[str, float]:
    """One step, after one that warms up; bytes and seconds."""
    import resource

    import torch
    import transformers

    from edgetune.config import TrainConfig
    from edgetune.models.base import base_from
    from edgetune.training.batches import batch_of
    from edgetune.training.examples import Example
    from edgetune.training.heads import untrained
    from edgetune.training.learner import Learner
    from edgetune.training.sets import Rows

    torch.set_num_threads(threads)

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    before = peak()
    config = transformers.LlamaConfig(
        hidden_size=shape.hidden, intermediate_size=shape.inner, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads, vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied, max_position_embeddings=4096,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config)
    assert sum(p.numel() for p in model.parameters()) == shape.parameters
    base = base_from(model, None, "random", "generate")
    run = TrainConfig(task="generate", method="prefix", virtual_tokens=VIRTUAL_TOKENS)
    learner = Learner(untrained(base, run, (), Rows("rows", "generate", ())), run)
    ids = torch.randint(shape.vocabulary, (tokens,)).tolist()
    batch = batch_of([Example(ids, completion=(False,) + (True,) * (tokens - 1))], 0)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    learner.step([batch], 1e-3, 1)
    top = peak()
    began = time.perf_counter()
    learner.step([batch], 1e-3, 2)
    seconds = time.perf_counter() - began
    with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
        learner.step([batch], 1e-3, 3)
    return {"before": before, "kept": sum(kept.values()), "peak": top, "seconds": seconds}


def plan() -> None:
    """Tables of docs/scaling.md."""
    tokens = STEPS * ROWS * TOKENS
    print(f"a run: {STEPS} steps of {ROWS} rows of {TOKENS} tokens, {tokens / 1e6:.2f} M tokens")
    for name, shape in SHAPES.items():
        weights, kept = shape.parameters * 2, shape.kept_floats * 2
        print(
            f"{name:<5} N {shape.parameters / 1e9:6.2f} G  weights bf16 {weights / 1e9:6.1f} GB  "
            f"kept {kept / 1e6:5.2f} MB a token, {kept * ROWS * TOKENS / 1e9:6.1f} GB a step of 32 rows  "
            f"{shape.flops(tokens):.2e} FLOP  prefix of {VIRTUAL_TOKENS}, fp16 "
            f"{shape.adapter_bytes(VIRTUAL_TOKENS, 2) / 1e6:6.2f} MB"
        )


if __name__ == "__main__":
    main()
