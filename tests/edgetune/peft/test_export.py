"""What is exported loads in PEFT, computes the same there, and comes back as the same tensors."""

import json

import pytest
import torch
from safetensors.torch import load_file

from edgetune.adapter import adapter_from
from edgetune.errors import AdapterError, BaseMismatchError
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.peft import adapter_from_peft, write_peft
from edgetune.peft.translation import check_expressible

from ..tiny import WINDOW, eager, ids_of, random_prefix, random_prompt
from .conftest import our_logits, peft_logits

peft = pytest.importorskip("peft")

FAMILIES = ["gpt2", "llama", "qwen3", "gemma3", "opt", "mistral"]
CASES = [(f, m) for f in FAMILIES for m in ("prompt", "prefix")]


def adapter_of(base, method, length=5):
    if method == "prompt":
        soft = Prompt(random_prompt(base, length)[0])
    else:
        soft = Prefix([(key[0], value[0]) for key, value in random_prefix(base, length)])
    return adapter_from(Tuned(base, soft), task="generate", method=method)


def identical(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("family", "method"), CASES)
def test_an_exported_adapter_computes_the_same_in_peft_and_comes_back_identical(family, method, base, tmp_path):
    ids = ids_of(2 * WINDOW + 3)[0][None]
    adapter = adapter_of(base(family), method)
    write_peft(adapter, base(family), tmp_path)
    model = peft.PeftModel.from_pretrained(eager(base(family)), str(tmp_path)).eval()
    got, expected = peft_logits(model, ids), our_logits(base(family), adapter, ids)
    print(f"{family} {method} {(got - expected).abs().max():.1e}")
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    back = adapter_from_peft(tmp_path, base(family))
    assert identical(back.tensors, adapter.tensors)
    assert back.description() == adapter.description()


@pytest.mark.parametrize("kind", ["prompt", "p_tuning_mlp", "prefix", "prefix_projected"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3"])
def test_what_came_from_peft_goes_back_identical(family, kind, base, made, tmp_path):
    _, folder = made(family, kind)
    write_peft(adapter_from_peft(folder, base(family)), base(family), tmp_path)
    assert identical(*(load_file(x / "adapter_model.safetensors") for x in (folder, tmp_path)))


@pytest.mark.parametrize(("kind", "written"), [("prompt", "PROMPT_TUNING"), ("prefix", "PREFIX_TUNING")])
def test_the_configuration_is_what_peft_itself_writes(kind, written, base, made, tmp_path):
    _, folder = made("llama", kind)
    write_peft(adapter_from_peft(folder, base("llama")), base("llama"), tmp_path)
    ours, theirs = (json.loads((x / "adapter_config.json").read_text()) for x in (tmp_path, folder))
    assert ours["peft_type"] == written
    assert ours.pop("base_model_name_or_path") == "tiny-llama"
    assert ours.items() <= theirs.items()


def test_gemma4_goes_out_and_in(base, made, tmp_path):
    """Its narrow layers are padded with zeros that PEFT cuts off; layers that share keys get none of their own."""
    ids = ids_of(2 * WINDOW + 3)[0][None]
    adapter = adapter_from_peft(made("gemma4", "prefix")[1], base("gemma4"))
    write_peft(adapter, base("gemma4"), tmp_path)
    model = peft.PeftModel.from_pretrained(eager(base("gemma4")), str(tmp_path)).eval()
    torch.testing.assert_close(peft_logits(model, ids), our_logits(base("gemma4"), adapter, ids), rtol=0, atol=1e-5)
    assert identical(adapter_from_peft(tmp_path, base("gemma4")).tensors, adapter.tensors)


def test_a_prefix_of_its_own_in_a_layer_that_shares_keys_is_refused(base, tmp_path):
    with pytest.raises(AdapterError, match="layer 2 shares the keys of layer 0 but has its own prefix"):
        write_peft(adapter_of(base("gemma4"), "prefix"), base("gemma4"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_layers_that_peft_leaves_without_a_prefix_are_refused(base, tmp_path):
    wider = base("gemma4-wider")
    with pytest.raises(AdapterError, match=r"no prefix to layers 0, 2 of 'tiny-gemma4-wider'"):
        write_peft(adapter_of(wider, "prefix"), wider, tmp_path)


def changed(adapter, **values):
    return type(adapter)(**{**vars(adapter), **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(task="classify", labels=("a", "b")), "its head is linear"),
        (dict(method="prompt+prefix"), "it has a prompt or a prefix, not both at once"),
        (dict(method="prompt", tensors={"suffix_embeds": torch.zeros(2, 32)}), "its prompts stand before the text"),
        (
            dict(
                tensors={f"past_key_values.{i}.{x}": torch.zeros(2, i + 1, 8) for i in (0, 1) for x in ("key", "value")}
            ),
            "of one length in all layers, and this one's differ",
        ),
        (dict(positions="from_zero"), "its positions are 'from_zero', PEFT's 'after_virtual'"),
    ],
)
def test_what_peft_cannot_express_is_refused(values, message, base, tmp_path):
    adapter = changed(adapter_of(base("llama"), "prefix"), **values)
    with pytest.raises(AdapterError, match=f"PEFT cannot express this adapter: .*{message}"):
        write_peft(adapter, base("llama"), tmp_path)


def test_keys_that_are_values_too_go_out_twice(base, tmp_path):
    ids, layers = ids_of(7)[0][None], [(x, x) for x in torch.randn(2, 2, 5, 8)]
    tuned = Tuned(base("llama"), Prefix(layers, shared=True))
    adapter = adapter_from(tuned, task="generate", method="prefix")
    assert set(adapter.tensors) == {f"past_key_values.{i}.key_value" for i in (0, 1)}
    check_expressible(adapter)
    write_peft(adapter, base("llama"), tmp_path)
    model = peft.PeftModel.from_pretrained(eager(base("llama")), str(tmp_path)).eval()
    torch.testing.assert_close(peft_logits(model, ids), our_logits(base("llama"), adapter, ids), rtol=0, atol=1e-5)


def test_a_prompt_together_with_a_prefix_is_refused(base, tmp_path):
    adapter = adapter_of(base("llama"), "prefix")
    adapter.tensors["prompt_embeds"] = torch.zeros(2, 32)
    with pytest.raises(AdapterError, match=r"prompts, or prefixes of all layers, not 'prefix' of .*prompt_embeds"):
        write_peft(adapter, base("llama"), tmp_path)


def test_another_base_is_refused(base, tmp_path):
    with pytest.raises(BaseMismatchError):
        write_peft(adapter_of(base("llama"), "prompt"), base("qwen3"), tmp_path)
