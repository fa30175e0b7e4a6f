"""A bundle appears whole and verified, or not at all."""

import json
from dataclasses import replace

import edgetune_runtime
import numpy as np
import onnx_ir
import pytest
import torch
from edgetune_export import bundle as bundle_module
from edgetune_export import graphs as graphs_module
from edgetune_export.addition import add_adapter
from edgetune_export.bundle import export_bundle
from references.eager import eager_logits

from edgetune.errors import AdapterError, BaseMismatchError, ConfigError, OutputExistsError, VerificationError

from .conftest import random_adapter, rows_of


def test_wrong_graph_is_refused_and_nothing_is_left(decoder, tmp_path, monkeypatch):
    traced = graphs_module.decoder_graph

    def spoiled(*arguments):
        graph = traced(*arguments)
        value = next(v for v in graph.graph.initializers.values() if v.name.endswith("norm.weight"))
        value.const_value = onnx_ir.tensor(value.const_value.numpy() * 1.01, name=value.name)
        return graph

    monkeypatch.setattr(graphs_module, "decoder_graph", spoiled)
    with pytest.raises(VerificationError, match=r"differ by .* at most 1e-04"):
        export_bundle(decoder, {}, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_failed_export_keeps_the_bundle_that_was_there(decoder, tmp_path, monkeypatch):
    export_bundle(decoder, {}, tmp_path / "b")
    before = {p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()}

    def broken(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_module, "write_graph", broken)
    with pytest.raises(OSError, match="No space left"):
        export_bundle(decoder, {}, tmp_path / "b", force=True)
    assert {p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_existing_bundle_is_not_replaced_without_force(decoder, tmp_path):
    export_bundle(decoder, {}, tmp_path / "b")
    with pytest.raises(OutputExistsError, match="--force"):
        export_bundle(decoder, {}, tmp_path / "b")


def test_adapter_of_another_base_is_refused_with_both_fingerprints(decoder, tmp_path):
    foreign = replace(random_adapter(decoder, "prefix", 2), base_fingerprint="sha256:other")
    with pytest.raises(BaseMismatchError) as error:
        export_bundle(decoder, {"foreign": foreign}, tmp_path / "b")
    assert "sha256:other" in str(error.value) and decoder.fingerprint in str(error.value)


def test_poolings_do_not_mix_on_one_base(encoder, tmp_path):
    mean, first = (replace(random_adapter(encoder, "prefix", 2, 3), pooling=p) for p in ("mean", "first"))
    with pytest.raises(AdapterError, match=r"mean.*first"):
        export_bundle(encoder, {"mean": mean, "first": first}, tmp_path / "b")


def test_first_token_pooling_is_exported(encoder, tmp_path):
    adapter = replace(random_adapter(encoder, "prefix", 2, 3), pooling="first")
    export_bundle(encoder, {"a": adapter}, tmp_path / "b")
    assert json.loads((tmp_path / "b/bundle.json").read_text())["graph"]["pooling"] == "first"


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden", "a" * 200])
def test_names_that_are_no_file_names_are_refused(decoder, tmp_path, name):
    with pytest.raises(AdapterError, match="cannot name"):
        export_bundle(decoder, {name: random_adapter(decoder, "prefix", 2)}, tmp_path / "b")


def test_standalone_takes_exactly_one_adapter(decoder, tmp_path):
    with pytest.raises(ConfigError, match="exactly one"):
        export_bundle(decoder, {}, tmp_path / "b", standalone=True)


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_added_adapter_answers_like_torch_and_leaves_the_graph_alone(decoder, tmp_path, method):
    export_bundle(decoder, {}, tmp_path / "b")
    graph = (tmp_path / "b/model.onnx").read_bytes()
    adapter = random_adapter(decoder, method, 4)
    add_adapter(tmp_path / "b", "late", adapter, decoder)
    (ids,) = rows_of([9])
    model = edgetune_runtime.load(tmp_path / "b")
    assert list(model.adapters) == ["late"] and model.default_adapter == "late"
    np.testing.assert_allclose(model.logits(ids), eager_logits(decoder, adapter, ids).numpy(), rtol=0, atol=1e-4)
    assert (tmp_path / "b/model.onnx").read_bytes() == graph


def test_refused_addition_leaves_the_bundle_as_it_was(decoder, tmp_path):
    export_bundle(decoder, {}, tmp_path / "b")
    before = {p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()}
    foreign = replace(random_adapter(decoder, "prefix", 2), base_fingerprint="sha256:other")
    with pytest.raises(edgetune_runtime.BaseMismatchError):
        add_adapter(tmp_path / "b", "foreign", foreign)
    assert {p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()} == before


def test_adapter_file_alone_is_a_task_for_a_running_model(decoder, tmp_path):
    adapter = random_adapter(decoder, "prefix", 4)
    export_bundle(decoder, {"task": adapter}, tmp_path / "with")
    export_bundle(decoder, {}, tmp_path / "without")
    model = edgetune_runtime.load(tmp_path / "without")
    info = model.add_adapter(tmp_path / "with/adapters/task.safetensors")
    (ids,) = rows_of([9])
    assert info.virtual_tokens == 4
    got = model.logits(ids, adapter="task")
    np.testing.assert_allclose(got, eager_logits(decoder, adapter, ids).numpy(), rtol=0, atol=1e-4)


def test_torch_model_trains_on_after_an_export(decoder, tmp_path):
    (ids,) = rows_of([9])
    before = eager_logits(decoder, None, ids)
    export_bundle(decoder, {}, tmp_path / "b")
    assert decoder.model.config._attn_implementation == "edgetune"
    assert torch.equal(eager_logits(decoder, None, ids), before)


def test_encoder_without_adapters_is_verified_too(encoder, tmp_path, monkeypatch):
    checks = export_bundle(encoder, {}, tmp_path / "b").checks
    assert checks and all(check.scale >= 1 for check in checks)
    traced = graphs_module.encoder_graph

    def spoiled(*arguments):
        graph = traced(*arguments)
        value = next(v for v in graph.graph.initializers.values() if v.name.endswith("LayerNorm.weight"))
        value.const_value = onnx_ir.tensor(value.const_value.numpy() * 1.5, name=value.name)
        return graph

    monkeypatch.setattr(graphs_module, "encoder_graph", spoiled)
    with pytest.raises(VerificationError):
        export_bundle(encoder, {}, tmp_path / "spoiled")
    assert not (tmp_path / "spoiled").exists()


def test_defaults_of_the_task_reach_the_device(decoder, tmp_path):
    adapter = replace(random_adapter(decoder, "prefix", 2), generation={"max_new_tokens": 3})
    export_bundle(decoder, {"short": adapter}, tmp_path / "b")
    answer = edgetune_runtime.load(tmp_path / "b").generate("w9 w8", min_new_tokens=3)
    assert len(answer.token_ids) == 3
