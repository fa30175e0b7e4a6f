"""Encoder–decoders: what PEFT stores and how it runs it, half of a prefix unused."""

import copy
import functools
import json

import pytest
import torch
from references.pairs import padded, pair_adapter, pair_base, reference_logits, rows_of
from safetensors.torch import load_file, save_file

from edgetune.adapter import tuned_from
from edgetune.errors import AdapterError
from edgetune.peft import adapter_from_peft
from edgetune.peft.stored import CONFIG, TENSORS
from edgetune.peft.translation import write_peft

peft = pytest.importorskip("peft")

LENGTH = 4
SHARED = dict(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=LENGTH)
KINDS = {
    "prompt": lambda: peft.PromptTuningConfig(**SHARED),
    "p_tuning": lambda: peft.PromptEncoderConfig(encoder_hidden_size=12, **SHARED),
    "prefix": lambda: peft.PrefixTuningConfig(**SHARED),
    "prefix_projected": lambda: peft.PrefixTuningConfig(prefix_projection=True, encoder_hidden_size=12, **SHARED),
}
CASES = [(f, k) for f in ("BART", "T5", "mT5") for k in KINDS] + [("Marian", "prefix")]


@functools.cache
def cached_base(family):
    """In double precision, so that a difference is one of meaning: float32 differs by 1e-5 between two attentions."""
    base = pair_base(family)
    base.model.double()
    return base


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """`made("T5", "prefix")`: PEFT's model and the folder that it saved."""

    @functools.cache
    @torch.no_grad()
    def both(family, kind):
        model = copy.deepcopy(cached_base(family).model)
        model.set_attn_implementation("eager")
        tuned = peft.get_peft_model(model, KINDS[kind]()).eval()
        torch.manual_seed(1)
        for weight in tuned.prompt_encoder.parameters():
            weight.normal_(0, 0.5)
        folder = tmp_path_factory.mktemp("pairs") / f"{family}-{kind}"
        tuned.save_pretrained(folder)
        return tuned, folder

    return both


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_imported_logits_equal_pefts(family, kind, made):
    base, (model, folder) = cached_base(family), made(family, kind)
    adapter = adapter_from_peft(folder, base)
    (ids, mask), (decoder_ids, _) = padded(rows_of((9, 4))), padded(rows_of((6, 6), seed=1))
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask, decoder_input_ids=decoder_ids).logits
        everywhere = torch.ones_like(decoder_ids, dtype=torch.bool)
        got = tuned_from(base, adapter).completion_logits(ids, mask, decoder_ids, everywhere).view_as(expected)
        bare = base.model(input_ids=ids, attention_mask=mask, decoder_input_ids=decoder_ids).logits
    print(f"{family} {kind} {(got - expected).abs().max():.1e} of {expected.abs().max():.1f}")
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    assert (got - bare).abs().max() > 1e-2, "the adapter does nothing"


@pytest.mark.parametrize("family", ["BART", "T5"])
def test_an_imported_prefix_equals_a_cache_filled_by_hand(family, made):
    """Eager attention of transformers over the rows that PEFT's quirk picks: with two layers, both have the first's."""
    base, (_, folder) = cached_base(family), made(family, "prefix")
    adapter = adapter_from_peft(folder, base)
    assert set(adapter.tensors) == {f"past_key_values.{i}.decoder.{x}" for i in (0, 1) for x in ("key", "value")}
    rows = load_file(folder / TENSORS)["prompt_embeddings"].view(LENGTH, 2, 2, 4, 16).permute(1, 2, 3, 0, 4)
    for layer in (0, 1):
        assert torch.equal(adapter.tensors[f"past_key_values.{layer}.decoder.key"], rows[0, 0])
        assert torch.equal(adapter.tensors[f"past_key_values.{layer}.decoder.value"], rows[0, 1])
    (prompt,), (text,) = rows_of((5,)), rows_of((7,), seed=1)
    (ids, mask), (decoder_ids, at) = padded([prompt]), padded([text])
    tuned = tuned_from(base, adapter)
    with torch.no_grad():
        got = tuned.completion_logits(ids, mask, decoder_ids, at.bool())
    torch.testing.assert_close(got, reference_logits(base, tuned.virtual(), prompt, text), rtol=0, atol=5e-5)


@pytest.mark.parametrize("family", ["BART", "T5"])
def test_a_prompt_goes_out_and_comes_back_the_same_and_peft_runs_it(family, tmp_path):
    base = cached_base(family)
    adapter = pair_adapter(base, places=(), prompt=LENGTH)
    write_peft(adapter, base, tmp_path)
    again = adapter_from_peft(tmp_path, base)
    assert torch.equal(again.tensors["prompt_embeds"], adapter.tensors["prompt_embeds"])
    model = copy.deepcopy(base.model)
    model.set_attn_implementation("eager")
    tuned = peft.PeftModel.from_pretrained(model, tmp_path).eval()
    (ids, mask), (decoder_ids, at) = padded(rows_of((6,))), padded(rows_of((5,), seed=1))
    with torch.no_grad():
        expected = tuned(input_ids=ids, attention_mask=mask, decoder_input_ids=decoder_ids).logits[0]
        got = tuned_from(base, adapter).completion_logits(ids, mask, decoder_ids, at.bool())
    torch.testing.assert_close(got, expected, rtol=0, atol=5e-5)


def test_a_prefix_does_not_go_out(tmp_path):
    base = cached_base("T5")
    with pytest.raises(AdapterError, match="PEFT cannot express this adapter"):
        write_peft(pair_adapter(base), base, tmp_path)


def changed(folder, out, tensors=None, **config):
    out.mkdir()
    text = json.loads((folder / CONFIG).read_text("utf-8"))
    (out / CONFIG).write_text(json.dumps({**text, **config}), "utf-8")
    save_file(tensors or load_file(folder / TENSORS), out / TENSORS)
    return out


@pytest.mark.parametrize(("family", "kind", "config", "told"), [
    ("BART", "prefix", dict(num_layers=3), "does not fit 'tiny BART': it holds .* for 3 layers"),
    ("BART", "prompt", dict(num_transformer_submodules=1), "num_transformer_submodules 1, where SEQ_2_SEQ_LM has 2"),
    ("BART", "prefix", dict(task_type="CAUSAL_LM", num_transformer_submodules=1), "is an encoder-decoder, which has"),
    ("BART", "prompt", dict(num_virtual_tokens=3), r"holds prompt_embeddings \[8, 64\], but num_virtual_tokens"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(family, kind, config, told, made, tmp_path):
    folder = changed(made(family, kind)[1], tmp_path / "changed", **config)
    with pytest.raises(AdapterError, match=told):
        adapter_from_peft(folder, cached_base(family))


def test_a_prompt_that_peft_ran_on_unscaled_embeddings_is_refused(made):
    with pytest.raises(AdapterError, match="whose embeddings PEFT hands over unscaled"):
        adapter_from_peft(made("BART", "prompt")[1], cached_base("Marian"))


def test_a_decoder_takes_no_adapter_of_an_encoder_decoder(made, base):
    with pytest.raises(AdapterError, match="has task_type SEQ_2_SEQ_LM, but 'tiny-llama' is no encoder-decoder"):
        adapter_from_peft(made("BART", "prompt")[1], base("llama"))
