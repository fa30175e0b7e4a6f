"""Heads with and without a hidden layer in one batch, folded into a graph, and on a graph that knows none."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import edgetune_runtime
import numpy as np
import onnxruntime
import pytest
import torch
from edgetune_export.bundle import export_bundle
from edgetune_export.device import device_file

from edgetune.adapter import adapter_from, tuned_from
from edgetune.methods.head import MlpHead

from .conftest import random_adapter, rows_of

GOLDEN = Path(__file__).parents[1] / "golden" / "encoder-shared"
TOLERANCE = 1e-4


def with_hidden_layer(base, adapter, width, activation):
    tuned = tuned_from(base, adapter)
    tuned.head = MlpHead(base.hidden_size, len(adapter.labels), width, activation, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(tuned.head.weight)
    torch.nn.init.normal_(tuned.head.dense.bias)
    return adapter_from(tuned, task="classify", method=adapter.method, labels=adapter.labels)


@pytest.fixture(scope="module")
def adapters(encoder):
    prefix, prompt = random_adapter(encoder, "prefix", 4, 3), random_adapter(encoder, "prompt", 6, 2)
    return {
        "linear": prefix,
        "tanh": with_hidden_layer(encoder, prompt, 7, "tanh"),
        "gelu": with_hidden_layer(encoder, prefix, 64, "gelu"),
        "relu": with_hidden_layer(encoder, prompt, 1, "relu"),
        "also linear": prompt,
    }


@torch.no_grad()
def torch_logits(base, adapter, row):
    ids = torch.tensor([row])
    return tuned_from(base, adapter).class_logits(ids, torch.ones_like(ids))[0].numpy()


@pytest.mark.parametrize("pooling", ["mean", "first", "start"])
def test_tasks_with_and_without_hidden_layers_share_a_batch(pooling, encoder, adapters, tmp_path):
    pooling_of = {name.replace(" ", "-"): replace(x, pooling=pooling) for name, x in adapters.items()}
    export_bundle(encoder, pooling_of, tmp_path / "b")
    model, names, rows = edgetune_runtime.load(tmp_path / "b"), list(pooling_of), rows_of([3, 9, 5, 7, 1])
    alone = [model.class_logits([row], name)[0] for row, name in zip(rows, names)]
    for row, name, logits, mixed in zip(rows, names, alone, model.classify(rows, adapter=names)):
        expected = torch_logits(encoder, pooling_of[name], row)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=TOLERANCE)
        weights = np.exp(expected.astype(float))
        wanted = dict(zip(pooling_of[name].labels, weights / weights.sum()))
        assert mixed.scores == pytest.approx(wanted, abs=TOLERANCE)


@pytest.mark.parametrize("pooling", ["mean", "start"])
@pytest.mark.parametrize("name", ["tanh", "gelu", "relu"])
def test_a_hidden_layer_is_folded_into_a_standalone_graph(name, pooling, encoder, adapters, tmp_path):
    adapter = replace(adapters[name], pooling=pooling)
    export_bundle(encoder, {"task": adapter}, tmp_path / "b", standalone=True)
    session = onnxruntime.InferenceSession(tmp_path / "b" / "model.onnx")
    for row in rows_of([8, 2]):
        feeds = {"input_ids": np.array([row]), "attention_mask": np.ones((1, len(row)), np.int64)}
        got = session.run(None, feeds)[0][0]
        np.testing.assert_allclose(got, torch_logits(encoder, adapter, row), rtol=0, atol=TOLERANCE)


def test_a_base_alone_is_verified_with_a_hidden_layer_too(encoder, tmp_path):
    checks = export_bundle(encoder, {}, tmp_path / "b").checks
    assert sum("hidden layer" in check.what for check in checks) == 2


def test_a_graph_without_hidden_layers_refuses_an_adapter_with_one(encoder, adapters, tmp_path):
    bundle = Path(shutil.copytree(GOLDEN, tmp_path / "b"))
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["graph"].pop("dense_heads", None)
    adapter = random_adapter_for(manifest, adapters["tanh"])
    (tmp_path / "late.safetensors").write_bytes(adapter)
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(edgetune_runtime.AdapterError, match="hidden layer, which this bundle's graph does not take"):
        edgetune_runtime.load(bundle).add_adapter(tmp_path / "late.safetensors")


def random_adapter_for(manifest, adapter):
    """The adapter's file with tensors of the golden bundle's sizes."""
    size = manifest["graph"]["hidden_size"]
    shapes = {"head.dense.weight": (7, size), "prompt_embeds": (6, manifest["graph"]["embedding_size"])}
    tensors = {name: torch.zeros(shapes.get(name, x.shape)) for name, x in adapter.tensors.items()}
    fitting = replace(adapter, tensors=tensors, base_fingerprint=manifest["base"]["fingerprint"])
    return device_file("late", fitting, None)


def test_an_unknown_activation_is_refused(encoder, adapters, tmp_path):
    export_bundle(encoder, {"task": adapters["tanh"]}, tmp_path / "b")
    (tmp_path / "new.safetensors").write_bytes(device_file("new", replace(adapters["tanh"], activation="swish"), None))
    with pytest.raises(edgetune_runtime.AdapterError, match="`activation` should be one of 'tanh', 'gelu', 'relu'"):
        edgetune_runtime.load(tmp_path / "b").add_adapter(tmp_path / "new.safetensors")
