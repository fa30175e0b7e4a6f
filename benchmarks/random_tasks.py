"""Tasks that nobody tuned, for what does not depend on their numbers: bundles and adapter files with random tensors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from edgetune_export.bundle import export_bundle
from edgetune_runtime.manifest import Manifest
from safetensors.numpy import save_file

from edgetune.data.demo import embedded_model
from edgetune.models.base import load_base
from edgetune.models.rounding import Weights

sys.path.insert(0, str(Path(__file__).parent))
from artefacts import Artefacts

TOKENS, LABELS = 10, 77
"""Of every task."""


def classifier(made: Artefacts, precision: str) -> Path:
    """MiniLM-L6 with one task, made once into the folder."""

    def make(half: Path) -> None:
        import torch

        from edgetune.adapter import adapter_from
        from edgetune.methods.head import LinearHead
        from edgetune.methods.prefix import Prefix
        from edgetune.methods.tuned import Tuned

        torch.manual_seed(0)
        base = load_base(str(embedded_model()), "classify")
        shapes = [(x.key_value_heads, TOKENS, x.head_size) for x in base.layers]
        prefix = Prefix([(0.1 * torch.randn(x), 0.1 * torch.randn(x)) for x in shapes])
        labels = tuple(f"label {i}" for i in range(LABELS))
        tuned = Tuned(base, prefix, LinearHead(base.hidden_size, LABELS))
        adapter = adapter_from(tuned, task="classify", method="prefix", labels=labels)
        export_bundle(base, {"first": adapter}, half, weights=Weights(precision))  # type: ignore[arg-type]

    return made.made(f"minilm-{precision}", make)


def write_task(path: Path, manifest: Manifest, name: str, seed: int, dtype: type[np.floating] = np.float32) -> Path:
    """A prefix of ten tokens, and a head where the base is an encoder, as an adapter file for that bundle."""
    drawn, graph = np.random.default_rng(seed), manifest.graph
    classifies = manifest.kind == "encoder"
    tensors = {
        f"past_key_values.{i}.{part}": (
            0.1 * drawn.standard_normal((1, x.key_value_heads, TOKENS, x.head_size))
        ).astype(dtype)
        for i, x in enumerate(graph.layers)
        for part in ("key", "value")
    }
    if classifies:
        tensors["head.weight"] = drawn.standard_normal((LABELS, graph.hidden_size)).astype(dtype)
        tensors["head.bias"] = np.zeros(LABELS, dtype)
    described = {
        "format_version": 1, "name": name, "task": "classify" if classifies else "generate", "method": "prefix",
        "base_fingerprint": manifest.base.fingerprint, "virtual_tokens": TOKENS, "positions": "after_virtual",
        "labels": [f"label {i}" for i in range(LABELS)] if classifies else [], "pooling": graph.pooling or "mean",
        "generation": {},
    }  # fmt: skip
    save_file(tensors, path, {"edgetune": json.dumps(described)})
    return path
