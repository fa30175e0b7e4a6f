"""onnxruntime's own adapters give the logits of the runtime."""

import edgetune_runtime
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from edgetune_export.bake import baked
from edgetune_export.bundle import export_bundle

from edgetune.errors import UnsupportedModelError

from .conftest import random_adapter, rows_of


def loaded(path):
    adapter = ort.LoraAdapter()
    adapter.Load(str(path))
    return adapter


def test_an_active_adapter_gives_the_logits_of_the_runtime(decoder, tmp_path):
    adapters = {"prefix": random_adapter(decoder, "prefix", 4), "prompt": random_adapter(decoder, "prompt", 3)}
    adapters["baked"] = baked(decoder, "w10 w11 w12", "int8")
    export_bundle(decoder, adapters, tmp_path / "b", onnx_adapters=True)
    model, (ids,) = edgetune_runtime.load(tmp_path / "b"), rows_of([9])
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(tmp_path / "b/model.adapters.onnx"), options, ["CPUExecutionProvider"])
    for name in (None, *adapters):
        run, taken = ort.RunOptions(), 0
        if name is not None:
            active = loaded(tmp_path / f"b/onnx_adapters/{name}.onnx_adapter")
            run.add_active_adapter(active)
            taken = model.adapters[name].virtual_tokens
        feeds = {
            "input_ids": np.array([ids]),
            "attention_mask": np.ones((1, taken + len(ids)), np.int64),
            "num_logits_to_keep": np.array(0),
        }
        got = session.run(["logits"], feeds, run)[0][0]
        np.testing.assert_allclose(got, model.logits(ids, adapter=name, keep=0), rtol=0, atol=1e-5)


def test_what_must_be_fed_has_no_default(decoder, tmp_path):
    export_bundle(decoder, {"a": random_adapter(decoder, "prefix", 2)}, tmp_path / "b", onnx_adapters=True)
    for file, defaults in (("model.onnx", 0), ("model.adapters.onnx", 4)):
        graph = onnx.load(tmp_path / "b" / file, load_external_data=False).graph
        names = {x.name for x in graph.initializer} & {x.name for x in graph.input}
        assert len(names - {"num_logits_to_keep"}) == defaults


def test_other_forms_are_refused(encoder, decoder, tmp_path):
    for base, more in ((encoder, {}), (decoder, {"ort": True})):
        with pytest.raises(UnsupportedModelError, match="--onnx-adapters is for shared decoders"):
            export_bundle(base, {}, tmp_path / "b", onnx_adapters=True, **more)
