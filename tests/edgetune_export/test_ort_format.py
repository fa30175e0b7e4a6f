"""Bundles in ONNX Runtime's own format answer as those in ONNX."""

import hashlib
from collections import Counter

import edgetune_runtime
import numpy as np
import pytest
from edgetune_export.bundle import export_bundle

from edgetune.errors import ConfigError
from edgetune.models.rounding import Weights
from edgetune.reports.inspection import node_types

from .conftest import random_adapter, rows_of


def test_a_decoder_in_ort_format_gives_the_logits_of_its_onnx_graph(decoder, tmp_path):
    adapters = {method: random_adapter(decoder, method, 3) for method in ("prefix", "prompt")}
    for ort in (False, True):
        export_bundle(decoder, adapters, tmp_path / str(ort), weights=Weights("int4"), ort=ort)
    assert sorted(p.name for p in (tmp_path / "True").iterdir()) == [
        "adapters", "bundle.json", "model.ort", "required_operators.config", "tokenizer.json",
    ]  # fmt: skip
    models, (ids,) = [edgetune_runtime.load(tmp_path / str(ort)) for ort in (False, True)], rows_of([9])
    for name in adapters:
        for call in ("logits", "step_logits"):
            plain, other = (getattr(model, call)(ids, adapter=name) for model in models)
            np.testing.assert_allclose(other, plain, rtol=0, atol=1e-5)
        assert len({tuple(m.generate(ids, adapter=name, max_new_tokens=8).token_ids) for m in models}) == 1
    operators = (tmp_path / "True/required_operators.config").read_text("utf-8")
    types = Counter(node_types(tmp_path / "True/model.ort"))
    assert types["GroupQueryAttention"] == 2 and all(name in operators for name in types)
    assert str(tmp_path) not in operators


def test_an_encoder_in_ort_format_is_verified(encoder, tmp_path):
    adapter = random_adapter(encoder, "prefix", 3, 2)
    result = export_bundle(encoder, {"a": adapter}, tmp_path / "b", ort=True)
    assert result.checks and "model.ort" in result.sizes
    assert edgetune_runtime.load(tmp_path / "b").classify([5, 6], adapter="a").label.startswith("label")


def test_float16_weights_are_refused(decoder, tmp_path):
    with pytest.raises(ConfigError, match="stores float16 weights as the float32"):
        export_bundle(decoder, {}, tmp_path / "b", weights=Weights("fp16"), ort=True)
    assert not (tmp_path / "b").exists()


def test_the_same_input_gives_the_same_bytes(decoder, tmp_path):
    adapters = {method: random_adapter(decoder, method, 3) for method in ("prefix", "prompt")}
    found = []
    for name in "ab":
        export_bundle(decoder, adapters, tmp_path / name, weights=Weights("int4"))
        files = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        found.append({p.relative_to(tmp_path / name): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})
    assert found[0] == found[1] and len(found[0]) == 11
