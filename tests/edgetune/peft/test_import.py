"""An imported adapter computes what PEFT computes, and transformers alone with the same keys and values."""

import json

import pytest
import torch
from references.eager import eager_logits
from safetensors.torch import load_file, save_file

from edgetune.methods.tuned import Tuned
from edgetune.peft import adapter_from_peft

from ..tiny import WINDOW, batch_of, ids_of
from .conftest import TASKS, our_logits, peft_logits

peft = pytest.importorskip("peft")

FAMILIES = ["gpt2", "llama", "qwen3", "gemma3", "opt"]
PREFIXES = ["prefix", "prefix_projected", "cartridge"]
KINDS = ["prompt", "p_tuning_mlp", "p_tuning_lstm", "multitask", "cpt", *PREFIXES]
CASES = [(f, k) for f in FAMILIES for k in KINDS] + [("gemma4", k) for k in PREFIXES]
BOTH = [(f, k) for f in FAMILIES for k in ("prompt", "prefix")]
TEXT = 2 * WINDOW + 3
close = dict(rtol=0, atol=1e-5)


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_imported_logits_equal_pefts(family, kind, base, made):
    ids = ids_of(TEXT)[0][None]
    model, folder = made(family, kind)
    task = TASKS - 1 if kind == "multitask" else None
    adapter = adapter_from_peft(folder, base(family), task)
    got, expected = our_logits(base(family), adapter, ids), peft_logits(model, ids, task=task)
    print(f"{family} {kind} {(got - expected).abs().max():.1e}")
    torch.testing.assert_close(got, expected, **close)
    with torch.no_grad():
        bare = Tuned(base(family), None).token_logits(ids, torch.ones_like(ids), torch.ones_like(ids).bool())
    assert (got[0] - bare).abs().max() > 1e-2, "the adapter does nothing"


@pytest.mark.parametrize(("family", "kind"), BOTH)
def test_imported_logits_equal_transformers_with_the_same_keys_and_values(family, kind, base, made):
    """The judge where PEFT and we might differ: eager attention over a cache filled by hand."""
    (ids,) = ids_of(TEXT)
    adapter = adapter_from_peft(made(family, kind)[1], base(family))
    got = our_logits(base(family), adapter, ids[None])[0]
    torch.testing.assert_close(got, eager_logits(base(family), adapter, ids.tolist()), **close)


@pytest.mark.parametrize(("family", "kind"), BOTH)
def test_rows_padded_on_the_right_equal_pefts(family, kind, base, made):
    ids, mask = batch_of(ids_of(9, 4))
    model, folder = made(family, kind)
    got = our_logits(base(family), adapter_from_peft(folder, base(family)), ids, mask)
    torch.testing.assert_close(got[mask.bool()], peft_logits(model, ids, mask)[mask.bool()], **close)


def left_padded():
    (row,) = ids_of(4)
    return row, torch.cat([torch.zeros(5, dtype=torch.int64), row])[None], (torch.arange(9) >= 5).long()[None]


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_peft_counts_padding_on_the_left_as_positions_and_we_do_not(family, kind, base, made):
    row, ids, mask = left_padded()
    model, folder = made(family, kind)
    alone = peft_logits(model, row[None])[0]
    assert (peft_logits(model, ids, mask)[0, -4:] - alone).abs().max() > 0.1
    got = our_logits(base(family), adapter_from_peft(folder, base(family)), ids, mask)
    torch.testing.assert_close(got[0, -4:], alone, **close)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_peft_generating_with_a_prefix_does_not_count_padding_either(family, base, made):
    row, ids, mask = left_padded()
    model, folder = made(family, "prefix")
    options = dict(max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True, pad_token_id=0)
    with torch.no_grad():
        first = model.generate(input_ids=ids, attention_mask=mask, **options).logits[0][0]
    got = our_logits(base(family), adapter_from_peft(folder, base(family)), row[None])
    torch.testing.assert_close(got[0, -1], first, **close)


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_opt_numbers_positions_by_the_mask_in_peft_too(kind, made):
    row, ids, mask = left_padded()
    model, _ = made("opt", kind)
    torch.testing.assert_close(peft_logits(model, ids, mask)[0, -4:], peft_logits(model, row[None])[0], **close)


def test_every_task_of_a_multitask_prompt_is_its_own(base, made):
    ids = ids_of(TEXT)[0][None]
    model, folder = made("llama", "multitask")
    for task in range(TASKS):
        got = our_logits(base("llama"), adapter_from_peft(folder, base("llama"), task), ids)
        torch.testing.assert_close(got, peft_logits(model, ids, task=task), **close)
        assert (got - peft_logits(model, ids, task=(task + 1) % TASKS)).abs().max() > 1e-2


def test_layers_of_gemma4_take_their_corner_and_share_with_their_source(base, made):
    adapter = adapter_from_peft(made("gemma4", "prefix")[1], base("gemma4"))
    shapes = [tuple(adapter.tensors[f"past_key_values.{i}.key"].shape) for i in range(4)]
    assert shapes == [(2, 5, 8), (2, 5, 16), (2, 5, 8), (2, 5, 16)]
    for part in ("key", "value"):
        for i in (0, 1):
            assert torch.equal(*(adapter.tensors[f"past_key_values.{j}.{part}"] for j in (i, i + 2)))


def test_an_adapter_says_what_it_is(base, made):
    adapter = adapter_from_peft(made("llama", "prefix_projected")[1], base("llama"))
    told = (adapter.task, adapter.method, adapter.virtual_tokens, adapter.positions, adapter.base_fingerprint)
    assert told == ("generate", "prefix", 5, "after_virtual", base("llama").fingerprint)
    assert adapter.tokens == {"eos": list(base("llama").eos_token_ids)}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_kept_exactly_in_float32(dtype, base, made, copied):
    folder = copied(made("llama", "prefix")[1])
    path = folder / "adapter_model.safetensors"
    halved = {name: x.to(dtype) for name, x in load_file(path).items()}
    save_file(halved, path)
    got = adapter_from_peft(folder, base("llama")).tensors["past_key_values.1.value"]
    assert got.dtype == torch.float32
    kept = halved["prompt_embeddings"].view(5, 2, 2, 2, 8)[:, 1, 1].permute(1, 0, 2).float()
    assert torch.equal(got, kept)


def test_a_single_task_needs_no_task_id(base, made, copied):
    folder = copied(made("llama", "multitask")[1])
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({name: x[1:2].clone() if x.dim() == 3 else x for name, x in tensors.items()}, path)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "num_tasks": 1}))
    alone = adapter_from_peft(folder, base("llama"))
    chosen = adapter_from_peft(made("llama", "multitask")[1], base("llama"), 1)
    assert torch.equal(alone.tensors["prompt_embeds"], chosen.tensors["prompt_embeds"])
