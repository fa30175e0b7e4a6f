"""Two copies of one base have one fingerprint, whatever files they come in; another base has another."""

import copy

import pytest
import torch

from edgetune.models.base import base_from, load_base
from edgetune.models.fingerprint import fingerprint

from ..tiny import base_of, model_of, saved


@pytest.fixture(scope="module")
def halves():
    """A Llama whose weights fit in float16 without loss."""
    base = base_of("llama")
    with torch.no_grad():
        for weight in base.model.parameters():
            weight.copy_(weight.half().float())
    return base


def test_a_copy_saved_in_float16_has_the_same_fingerprint(halves, tmp_path):
    copied = copy.deepcopy(halves.model).half()
    copied.save_pretrained(tmp_path)
    halves.tokenizer.save_pretrained(tmp_path)
    loaded = load_base(str(tmp_path), "generate")
    assert next(loaded.model.parameters()).dtype == torch.float32
    assert loaded.fingerprint == fingerprint(halves.model)


def test_a_copy_in_several_files_has_the_same_fingerprint(halves, tmp_path):
    halves.model.save_pretrained(tmp_path, max_shard_size="8KB")
    halves.tokenizer.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert load_base(str(tmp_path), "generate").fingerprint == fingerprint(halves.model)


@pytest.mark.parametrize("family, task", [("bert", "classify"), ("gpt2", "generate")])
def test_a_saved_base_has_the_same_fingerprint_at_every_load(family, task, tmp_path):
    folder = str(saved(base_of(family), tmp_path))
    assert load_base(folder, task).fingerprint == load_base(folder, task).fingerprint == base_of(family).fingerprint


def test_one_changed_weight_changes_the_fingerprint(halves):
    changed = copy.deepcopy(halves.model)
    with torch.no_grad():
        changed.model.layers[1].mlp.down_proj.weight[3, 5] += 1e-3
    assert fingerprint(changed) != fingerprint(halves.model)


def test_two_names_that_swap_their_weights_change_the_fingerprint(halves):
    changed = copy.deepcopy(halves.model)
    a, b = changed.model.layers
    a.mlp.up_proj.weight.data, a.mlp.gate_proj.weight.data = a.mlp.gate_proj.weight.data, a.mlp.up_proj.weight.data
    assert b is not a and fingerprint(changed) != fingerprint(halves.model)


def test_a_pooler_that_nobody_runs_does_not_count():
    model = model_of("bert")
    before = fingerprint(model)
    torch.nn.init.normal_(model.pooler.dense.weight)
    assert fingerprint(model) == before


def test_it_is_sha256_in_hexadecimal(halves):
    kind, _, digest = base_from(halves.model, None, "x", "generate").fingerprint.partition(":")
    assert kind == "sha256" and len(bytes.fromhex(digest)) == 32
