"""An adapter file is taken only if it fits the base, and the message says what does not."""

import json

import numpy as np
import pytest
from edgetune_runtime.errors import AdapterError, BaseMismatchError
from edgetune_runtime.manifest import Base, Graph, Layer, Manifest, TokenizerFiles
from edgetune_runtime.stored_adapter import read_adapter
from safetensors.numpy import save_file

LAYERS = (Layer(2, 4), Layer(2, 4))


def manifest_of(kind="encoder"):
    encodes = kind == "encoder"
    graph = Graph("model.onnx", LAYERS, 8, 6, 100, 32, "mean" if encodes else None)
    return Manifest(
        producer="", form="shared", kind=kind, task="classify" if encodes else "generate", precision="fp32",
        base=Base("sha256:aa", "tiny", "", 0), graph=graph, tokenizer=TokenizerFiles("t", 0, None, ()),
        adapters={}, default_adapter=None, standalone=None, files={},
    )  # fmt: skip


def described(**changes):
    data = {
        "format_version": 1, "name": "mood", "task": "classify", "method": "prefix", "base_fingerprint": "sha256:aa",
        "virtual_tokens": 3, "positions": "after_virtual", "labels": ["bad", "good"], "pooling": "mean",
        "generation": {},
    }  # fmt: skip
    return {**data, **changes}


def tensors_of(length=3, dtype=np.float32, **changes):
    rng = np.random.default_rng(0)
    names = [f"past_key_values.{i}.{part}" for i in range(2) for part in ("key", "value")]
    tensors = {name: rng.normal(size=(1, 2, length, 4)).astype(dtype) for name in names}
    tensors |= {"head.weight": rng.normal(size=(2, 8)).astype(dtype), "head.bias": np.zeros(2, dtype)}
    return {name: x for name, x in (tensors | changes).items() if x is not None}


@pytest.fixture
def write(tmp_path):
    """Writes an adapter file and gives its path."""

    def file(metadata=None, tensors=None):
        path = tmp_path / "mood.safetensors"
        data = described() if metadata is None else metadata
        text = data if isinstance(data, str) else json.dumps(data)
        save_file(tensors_of() if tensors is None else tensors, path, {"edgetune": text})
        return path

    return file


def test_a_fitting_adapter_is_read(write):
    path = write()
    adapter = read_adapter(path, manifest_of())
    assert adapter.info.name == "mood" and adapter.info.labels == ("bad", "good")
    assert adapter.info.size_bytes == path.stat().st_size
    assert (adapter.prefix_tokens, adapter.prompt_tokens) == (3, 0)
    np.testing.assert_array_equal(adapter.past[1], tensors_of()["past_key_values.0.value"])
    assert read_adapter(path, manifest_of(), "other").info.name == "other"


def test_half_precision_stays_as_it_is(write):
    adapter, tensors = read_adapter(write(tensors=tensors_of(dtype=np.float16)), manifest_of()), tensors_of()
    found = dict(zip([*sorted(tensors)[2:], "head.weight", "head.bias"],
                     [*adapter.past, adapter.head_weight, adapter.head_bias], strict=True))  # fmt: skip
    for name, x in found.items():
        np.testing.assert_array_equal(x, tensors[name].astype(np.float16), strict=True)


def test_a_prompt_of_an_encoder_is_read(write):
    no_prefix = {name: None for name in tensors_of() if name.startswith("past")}
    prompt = np.ones((1, 3, 6), np.float32)
    adapter = read_adapter(write(tensors=tensors_of(**no_prefix, prompt_embeds=prompt)), manifest_of())
    assert (adapter.prefix_tokens, adapter.prompt_tokens) == (0, 3)


def test_generation_defaults_of_a_decoder_are_read(write):
    generation = {"max_new_tokens": 9, "stop": ["\n"], "temperature": 1, "top_p": 0.5}
    data = described(task="generate", labels=[], pooling=None, generation=generation)
    no_head = {"head.weight": None, "head.bias": None}
    defaults = read_adapter(write(data, tensors_of(**no_head)), manifest_of("decoder")).metadata.generation
    assert (defaults.max_new_tokens, defaults.stop, defaults.temperature) == (9, ("\n",), 1.0)
    assert (defaults.top_k, defaults.top_p) == (None, 0.5)


def test_another_base_is_refused_with_both_fingerprints(write):
    with pytest.raises(BaseMismatchError, match=r"sha256:bb.*sha256:aa"):
        read_adapter(write(described(base_fingerprint="sha256:bb")), manifest_of())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": 2}, "`format_version` is 2"),
        ({"task": "generate"}, "'generate'"),
        ({"pooling": "first"}, "'first'.*'mean'"),
        ({"positions": "elsewhere"}, "positions"),
        ({"virtual_tokens": 4}, "4 virtual tokens.*3"),
        ({"labels": []}, "without labels"),
        ({"labels": ["a", "a"]}, "repetitions"),
        ({"labels": ["a", "b", "c"]}, r"head\.weight"),
        ({"name": 5}, "`name`"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(write, changes, words):
    with pytest.raises(AdapterError, match=words) as caught:
        read_adapter(write(described(**changes)), manifest_of())
    assert "mood.safetensors" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"past_key_values.1.key": None}, r"lacks.*past_key_values\.1\.key"),
        ({"past_key_values.1.key": np.zeros((1, 2, 4, 4), np.float32)}, r"past_key_values\.1\.value.*\[1, 2, 4, 4\]"),
        ({"past_key_values.0.value": np.zeros((1, 3, 3, 4), np.float32)}, r"past_key_values\.0\.value"),
        ({"past_key_values.2.key": np.zeros((1, 2, 3, 4), np.float32)}, "2 layers"),
        ({"prompt_embeds": np.zeros((1, 2, 8), np.float32)}, "prompt_embeds"),
        ({"head.bias": None}, r"lacks.*head\.bias"),
        ({"head.bias": np.zeros(2, np.int64)}, "int64"),
    ],
)
def test_tensors_that_do_not_fit_are_named(write, changes, words):
    with pytest.raises(AdapterError, match=words):
        read_adapter(write(tensors=tensors_of(**changes)), manifest_of())


def test_files_that_are_no_adapters_are_named(write, tmp_path):
    broken = tmp_path / "broken.safetensors"
    for data in (b"", b"nonsense" * 9, write().read_bytes()[:-5]):
        broken.write_bytes(data)
        with pytest.raises(AdapterError, match=r"broken\.safetensors"):
            read_adapter(broken, manifest_of())
    with pytest.raises(AdapterError, match="no such file"):
        read_adapter(tmp_path / "missing.safetensors", manifest_of())
    save_file(tensors_of(), broken)
    with pytest.raises(AdapterError, match="no `edgetune` metadata"):
        read_adapter(broken, manifest_of())
    with pytest.raises(AdapterError, match="not JSON"):
        read_adapter(write("{"), manifest_of())
    with pytest.raises(AdapterError, match="not an object"):
        read_adapter(write("[]"), manifest_of())
