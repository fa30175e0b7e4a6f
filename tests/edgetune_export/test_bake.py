"""Texts baked into an adapter: what stands behind one reads as if the text stood in front of it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import edgetune_runtime
import numpy as np
import pytest
import torch
from edgetune_export.addition import add_adapter
from edgetune_export.bake import baked, baked_by_bundle
from edgetune_export.bundle import export_bundle
from references.eager import eager_greedy, eager_logits
from safetensors.numpy import load_file
from tokenizers import processors

from edgetune.adapter import load_adapter
from edgetune.config import STORAGES
from edgetune.errors import ConfigError, UnsupportedModelError
from edgetune.models.base import load_base

from .conftest import made_base, word_tokenizer

STORIES = Path(__file__).parents[3] / "shared/models/stories260K-hf"
TEXT, PROMPT = "w10 w11 w12 w13 w14 w15 w16 w17", "w20 w21"
TOLERANCE = {"fp32": 1e-4, "fp16": 0.01, "int8": 0.05}
"""Of the largest logit: what storing keys and values of weights as large as these may cost."""


def beginning_base(family):
    """A base whose tokenizer begins texts with a token, as Llama's does."""
    fast = word_tokenizer()
    begins = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast.backend_tokenizer.post_processor = begins
    return replace(made_base(family), tokenizer=fast)


@pytest.fixture(scope="module", params=["Llama", "GPT2", "Mistral"])
def made(request, tmp_path_factory):
    """A base and its bundle, without adapters. Mistral's window is shorter than the text."""
    base = beginning_base(request.param)
    folder = tmp_path_factory.mktemp("baked") / "b"
    export_bundle(base, {}, folder)
    return base, folder


def ids_of(base):
    """Of text and prompt as one text, and how many of them are the prompt's."""
    return base.tokenizer(f"{TEXT} {PROMPT}").input_ids, len(PROMPT.split())


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("by_bundle", [False, True], ids=["torch", "bundle"])
def test_logits_and_greedy_text_are_those_of_the_whole_text(made, tmp_path, storage, by_bundle):
    base, folder = made
    shutil.copytree(folder, tmp_path / "b")
    adapter = baked_by_bundle(tmp_path / "b", TEXT, storage) if by_bundle else baked(base, TEXT, storage)
    add_adapter(tmp_path / "b", "system", adapter)
    model = edgetune_runtime.load(tmp_path / "b")
    ids, prompt = ids_of(base)
    assert ids[0] == 1 and model.adapters["system"].virtual_tokens == len(ids) - prompt
    expected = eager_logits(base, None, ids)[-prompt:].numpy()
    got = model.logits(ids[-prompt:], adapter="system", keep=0)
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[storage] * np.abs(expected).max())
    if storage == "fp32":  # as a text, not as ids: no second <s> comes between
        written = model.generate(PROMPT, adapter="system", max_new_tokens=8).token_ids
        assert written == eager_greedy(base, None, ids, 8)[0]


def test_storage_is_what_the_file_holds_and_verification_reads_the_same(made, tmp_path):
    base, _ = made
    adapters = {storage: baked(base, TEXT, storage) for storage in STORAGES}
    export_bundle(base, adapters, tmp_path / "b")
    files = {name: load_file(tmp_path / f"b/adapters/{name}.safetensors") for name in adapters}
    name = "past_key_values.1.key"
    assert [str(files[x][name].dtype) for x in STORAGES] == ["float32", "float16", "int8"]
    assert files["int8"][f"{name}.scale"].shape == (*files["int8"][name].shape[:-1], 1)
    sizes = [sum(x.nbytes for x in files[x].values()) for x in STORAGES]
    assert sizes[1] * 2 == sizes[0] and sizes[2] < 0.4 * sizes[0]


def test_a_folder_keeps_what_was_baked_and_a_standalone_graph_holds_it_expanded(tmp_path):
    base = beginning_base("Llama")
    adapter = baked(base, TEXT, "int8")
    (tmp_path / "a").mkdir()
    adapter.save(tmp_path / "a")
    read = load_adapter(tmp_path / "a")
    assert (read.storage, read.begins_text) == ("int8", True)
    export_bundle(base, {"a": read}, tmp_path / "b", standalone=True)
    model, (ids, prompt) = edgetune_runtime.load(tmp_path / "b"), ids_of(base)
    expected = eager_logits(base, None, ids)[-prompt:].numpy()
    got = model.logits(ids[-prompt:], keep=0)
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE["int8"] * np.abs(expected).max())


def test_what_cannot_be_baked_is_refused(encoder, decoder, tmp_path):
    with pytest.raises(UnsupportedModelError, match="an encoder: a text is baked into a decoder's"):
        baked(encoder, TEXT)
    with pytest.raises(ConfigError, match="has no tokens"):
        baked(decoder, "")
    export_bundle(encoder, {}, tmp_path / "e")
    with pytest.raises(UnsupportedModelError, match="is an encoder"):
        baked_by_bundle(tmp_path / "e", TEXT)


def test_a_bundle_that_cannot_take_the_adapter_is_left_as_it_was(made, tmp_path, monkeypatch):
    _, folder = made
    shutil.copytree(folder, tmp_path / "b")
    before = {p: p.read_bytes() for p in (tmp_path / "b").rglob("*") if p.is_file()}
    monkeypatch.setattr("edgetune_export.manifest.file_entry", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        add_adapter(tmp_path / "b", "system", baked_by_bundle(tmp_path / "b", TEXT))
    assert {p: p.read_bytes() for p in (tmp_path / "b").rglob("*") if p.is_file()} == before


def test_a_story_goes_on_as_transformers_writes_it(tmp_path):
    if not STORIES.exists():
        pytest.skip(f"{STORIES} is absent")
    base = load_base(str(STORIES), "generate")
    text, prompt = "Once upon a time there was a little girl named Lily.", "She had a red ball"
    export_bundle(base, {}, tmp_path / "b")
    add_adapter(tmp_path / "b", "lily", baked_by_bundle(tmp_path / "b", text))
    ids = base.tokenizer(text).input_ids + base.tokenizer(prompt, add_special_tokens=False).input_ids
    base.model.set_attn_implementation("eager")
    whole = base.model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=24)[0].tolist()
    model = edgetune_runtime.load(tmp_path / "b")
    assert model.generate(prompt, adapter="lily", max_new_tokens=24).token_ids == whole[len(ids) :]
    described = json.loads((tmp_path / "b/bundle.json").read_text("utf-8"))
    assert described["default_adapter"] == "lily" and "adapters/lily.safetensors" in described["files"]
