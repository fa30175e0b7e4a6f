"""An adapter comes back from disk as it was, or it is refused."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgetune.adapter import adapter_from, load_adapter, tuned_from
from edgetune.errors import AdapterError, BaseMismatchError
from edgetune.methods.head import LinearHead
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned

from .tiny import base_of, batch_of, ids_of, random_prefix, random_prompt

LABELS = ("no", "yes", "vielleicht", "多分")


def adapter_of(base, method):
    if method == "prompt":
        soft = Prompt(random_prompt(base, 3)[0])
    else:
        soft = Prefix([(key[0], value[0]) for key, value in random_prefix(base, 3)])
    if base.kind == "decoder":
        return adapter_from(Tuned(base, soft), task="generate", method=method)
    head = LinearHead(base.hidden_size, len(LABELS))
    torch.nn.init.normal_(head.weight)
    torch.nn.init.normal_(head.bias)
    return adapter_from(Tuned(base, soft, head, "first"), task="classify", method=method, labels=LABELS)


@pytest.fixture
def folder(base, tmp_path):
    adapter_of(base("bert"), "prefix").save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("method", ["prompt", "prefix"])
@pytest.mark.parametrize("family", ["bert", "albert", "llama"])
def test_an_adapter_comes_back_as_it_was_saved(base, tmp_path, family, method):
    adapter = replace(adapter_of(base(family), method), generation={"max_new_tokens": 9, "stop": ["."]})
    adapter.save(tmp_path)
    loaded = load_adapter(tmp_path)
    assert replace(loaded, tensors={}) == replace(adapter, tensors={})
    assert set(loaded.tensors) == set(adapter.tensors)
    assert all(torch.equal(x, adapter.tensors[name]) for name, x in loaded.tensors.items())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter.json", "adapter.safetensors"]


@torch.no_grad()
@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_a_loaded_adapter_answers_as_the_tuned_model_did(base, tmp_path, method):
    bert, (ids, mask) = base("bert"), batch_of(ids_of(5, 3))
    adapter = adapter_of(bert, method)
    adapter.save(tmp_path)
    again = tuned_from(bert, load_adapter(tmp_path))
    assert again.pooling == "first" and torch.equal(again.head.bias, adapter.tensors["head.bias"])
    assert torch.equal(again.class_logits(ids, mask), tuned_from(bert, adapter).class_logits(ids, mask))


def test_the_description_says_what_the_tensors_are_for(base, folder):
    text = json.loads((folder / "adapter.json").read_text("utf-8"))
    assert text["base_fingerprint"] == base("bert").fingerprint
    assert (text["task"], text["method"], text["virtual_tokens"]) == ("classify", "prefix", 3)
    assert (text["labels"], text["pooling"], text["positions"]) == (list(LABELS), "first", "after_virtual")
    assert text["shapes"]["past_key_values.1.value"] == [4, 3, 8] and text["shapes"]["head.weight"] == [4, 32]


def test_sizes_are_counted_by_hand(base):
    adapter = adapter_of(base("bert"), "prefix")
    assert adapter.parameters == 2 * 2 * 4 * 3 * 8 + 4 * 32 + 4
    assert adapter.size_bytes == 4 * adapter.parameters


def test_a_later_step_of_training_does_not_change_an_adapter(base):
    tuned = Tuned(base("llama"), Prompt(random_prompt(base("llama"), 3)[0]))
    adapter = adapter_from(tuned, task="generate", method="prompt")
    before = adapter.tensors["prompt_embeds"].clone()
    with torch.no_grad():
        tuned.soft.embeds += 1
    assert torch.equal(adapter.tensors["prompt_embeds"], before) and not adapter.tensors["prompt_embeds"].requires_grad


def test_another_base_is_refused_with_both_fingerprints(base):
    adapter, other = adapter_of(base("bert"), "prefix"), base_of("bert", seed=1)
    with pytest.raises(BaseMismatchError) as caught:
        tuned_from(other, adapter)
    assert base("bert").fingerprint in str(caught.value) and other.fingerprint in str(caught.value)
    assert base("bert").fingerprint != other.fingerprint


@pytest.mark.parametrize("name", ["adapter.json", "adapter.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(AdapterError, match=f"is no adapter: {name} is missing"):
        load_adapter(folder)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(AdapterError, match="nowhere is no adapter"):
        load_adapter(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", [
    lambda f: (f / "adapter.json").write_bytes(b"{"),
    lambda f: (f / "adapter.json").write_bytes(b"\xff\xfe"),
    lambda f: (f / "adapter.safetensors").write_bytes((f / "adapter.safetensors").read_bytes()[:-7]),
    lambda f: (f / "adapter.safetensors").write_bytes(b"not safetensors"),
    lambda f: (f / "adapter.safetensors").write_bytes(b""),
])  # fmt: skip
def test_a_damaged_file_is_an_error_of_ours(folder, damage):
    damage(folder)
    with pytest.raises(AdapterError, match="cannot be read as an adapter") as caught:
        load_adapter(folder)
    assert str(folder) in str(caught.value)


def edited(folder, **changes):
    text = json.loads((folder / "adapter.json").read_text("utf-8"))
    (folder / "adapter.json").write_text(json.dumps({**text, **changes}), "utf-8")


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_an_unknown_version_is_refused(folder, version):
    edited(folder, format_version=version)
    with pytest.raises(AdapterError, match=f"has format version {version}; this edgetune reads 1"):
        load_adapter(folder)


@pytest.mark.parametrize("content", ['{"format": "other"}', "[]", '"adapter"', "null", "{}"])
def test_a_description_of_something_else_is_refused(folder, content):
    (folder / "adapter.json").write_text(content)
    with pytest.raises(AdapterError, match="does not describe an edgetune adapter"):
        load_adapter(folder)


def test_a_description_that_lacks_fields_names_them(folder):
    text = json.loads((folder / "adapter.json").read_text("utf-8"))
    (folder / "adapter.json").write_text(json.dumps({k: v for k, v in text.items() if k not in ("task", "base_name")}))
    with pytest.raises(AdapterError, match="lacks base_name, task"):
        load_adapter(folder)


@pytest.mark.parametrize("change", [
    lambda t: t.pop("head.bias"),
    lambda t: t.update(extra=torch.zeros(1)),
    lambda t: t.update({"head.bias": torch.zeros(3)}),
])  # fmt: skip
def test_tensors_other_than_those_described_are_refused(folder, change):
    tensors = load_file(folder / "adapter.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter.safetensors")
    with pytest.raises(AdapterError, match=r"does not hold the tensors that adapter\.json lists"):
        load_adapter(folder)


@pytest.mark.parametrize("change, told", [
    ({"task": 3}, "task is 3; this edgetune knows classify, tag, regress, generate"),
    ({"pooling": []}, "pooling is \\[\\]; this edgetune knows mean, first"),
    ({"positions": "before_virtual"}, "positions is 'before_virtual'; this edgetune knows after_virtual"),
    ({"virtual_tokens": "three"}, "virtual_tokens is 'three', which is not of type int"),
    ({"labels": None}, "labels is None, which is not of type list"),
    ({"base_name": 1}, "base_name is 1, which is not of type str"),
    ({"labels": ["no", "yes"]}, "labels are 2 names, and the head has 4 classes"),
    ({"labels": [1, 2, 3, 4]}, "labels are 4 names"),
])  # fmt: skip
def test_a_description_that_makes_no_sense_is_refused(folder, change, told):
    edited(folder, **change)
    with pytest.raises(AdapterError, match=told):
        load_adapter(folder)
