"""Sequence classifiers: what PEFT computes with its saved heads is what we compute, in torch and on the device."""

import functools
import json

import edgetune_runtime
import numpy as np
import pytest
import torch
import transformers
from edgetune_export.bundle import export_bundle
from safetensors.torch import load_file, save_file

from edgetune.adapter import adapter_from, load_adapter, tuned_from
from edgetune.cli import main
from edgetune.errors import AdapterError, ConfigError
from edgetune.methods.head import LinearHead, MlpHead
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.peft import adapter_from_peft, write_peft

from ..tiny import batch_of, ids_of, random_prefix, random_prompt
from .classifiers import CLASSES, CONFIGS, NO_PREFIX, base_at, checkpoint, logits_of, theirs, tuned

peft = pytest.importorskip("peft")

TENSORS = "adapter_model.safetensors"
LENGTH = 5
LARGE = dict(task_type="SEQ_CLS", num_virtual_tokens=LENGTH)
KINDS = {
    "prompt": lambda **more: peft.PromptTuningConfig(**LARGE, **more),
    "p_tuning_mlp": lambda **more: peft.PromptEncoderConfig(encoder_hidden_size=12, **LARGE, **more),
    "p_tuning_lstm": lambda **more: peft.PromptEncoderConfig(
        encoder_reparameterization_type="LSTM", encoder_hidden_size=12, **LARGE, **more
    ),
    "multitask": lambda **more: peft.MultitaskPromptTuningConfig(num_tasks=2, num_ranks=2, **LARGE, **more),
    "prefix": lambda **more: peft.PrefixTuningConfig(**LARGE, **more),
    "prefix_projected": lambda **more: peft.PrefixTuningConfig(
        prefix_projection=True, encoder_hidden_size=12, **LARGE, **more
    ),
    "cartridge": lambda **more: peft.CartridgeConfig(num_frozen_tokens=1, **LARGE, **more),
}
PREFIXES = ("prefix", "prefix_projected", "cartridge")
FAMILIES = [name for name in CONFIGS if name != "modernbert"]
CASES = [(f, k) for f in FAMILIES for k in KINDS if not (k in PREFIXES and f in NO_PREFIX)]
close = dict(rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return functools.cache(lambda family: checkpoint(family, tmp_path_factory.mktemp("classifiers") / family))


@pytest.fixture(scope="module")
def bases(folders):
    return functools.cache(lambda family: base_at(folders(family)))


@pytest.fixture(scope="module")
def made(folders, tmp_path_factory):
    """`made("bert", "prompt")`: PEFT's model and the folder that it saved."""

    @functools.cache
    def both(family, kind, *modules):
        by_hand = dict(token_dim=32, num_layers=2, num_attention_heads=4) if family == "distilbert" else {}
        more = {"modules_to_save": list(modules)} if modules else {}
        model = tuned(folders(family), KINDS[kind](**by_hand, **more))
        folder = tmp_path_factory.mktemp("peft")
        model.save_pretrained(folder)
        return model, folder

    return both


def imported(bases, made, family, kind, *modules):
    return adapter_from_peft(made(family, kind, *modules)[1], bases(family), 1 if kind == "multitask" else None)


@torch.no_grad()
def our_logits(base, adapter, ids, mask):
    return tuned_from(base, adapter).class_logits(ids, mask)


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_imported_logits_equal_pefts_alone_and_padded(family, kind, bases, made):
    base = bases(family)
    adapter = imported(bases, made, family, kind)
    rows = ids_of(9, 4, 1)
    for texts in ([rows[0]], rows):
        ids, mask = batch_of(texts, base.pad_token_id)
        got, expected = our_logits(base, adapter, ids, mask), logits_of(made(family, kind)[0], ids, mask)
        print(f"{family} {kind} {(got - expected).abs().max():.1e}")
        torch.testing.assert_close(got, expected, **close)
    assert (got[0] - got[1]).abs().max() > 1e-2, "the text does nothing"
    bare = Tuned(base, None, tuned_from(base, adapter).head, "start").class_logits(ids, mask)
    assert (got - bare).abs().max() > 1e-2, "the virtual tokens do nothing"


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_pairs_keep_the_token_types_of_peft(kind, bases, made):
    base = bases("bert")
    given = base.tokenizer([("w1 w2 w3", "w4"), ("w1", "w4 w5")], padding=True, return_tensors="pt")
    ids, mask, types = given.input_ids, given.attention_mask, given.token_type_ids
    expected = logits_of(made("bert", kind)[0], ids, mask, types)
    torch.testing.assert_close(our_logits(base, imported(bases, made, "bert", kind), ids, mask), expected, **close)
    plain = logits_of(made("bert", kind)[0], ids, mask)
    assert (plain - expected).abs().max() > 1e-2


@pytest.mark.parametrize("family", ["roberta", "bert"])
def test_under_a_prompt_the_head_reads_the_first_virtual_token(family, bases, made):
    base, adapter = bases(family), imported(bases, made, family, "prompt")
    assert adapter.pooling == "start"
    ids, mask = batch_of(ids_of(7), base.pad_token_id)
    on_text = type(adapter)(**{**vars(adapter), "pooling": "first"})
    expected = logits_of(made(family, "prompt")[0], ids, mask)
    assert (our_logits(base, on_text, ids, mask) - expected).abs().max() > 1e-2


def test_a_pooler_that_peft_saved_takes_the_place_of_the_bases(bases, made):
    base, adapter = bases("bert"), imported(bases, made, "bert", "prompt", "pooler")
    assert not torch.equal(adapter.tensors["head.dense.weight"], base.model.pooler.dense.weight)
    ids, mask = batch_of(ids_of(6, 3), base.pad_token_id)
    expected = logits_of(made("bert", "prompt", "pooler")[0], ids, mask)
    torch.testing.assert_close(our_logits(base, adapter, ids, mask), expected, **close)


@pytest.mark.parametrize("family", ["bert", "electra", "distilbert"])
def test_a_bundle_of_imported_adapters_answers_as_peft_does(family, bases, made, tmp_path):
    base, kinds = bases(family), ["prompt", "p_tuning_mlp"] + ([] if family in NO_PREFIX else ["prefix"])
    export_bundle(base, {kind: imported(bases, made, family, kind) for kind in kinds}, tmp_path / "b")
    model, rows = edgetune_runtime.load(tmp_path / "b"), [row.tolist() for row in ids_of(6, 3, 8)]
    for kind in kinds:
        for row, got in zip(rows, model.class_logits(rows, kind)):
            ids = torch.tensor([row])
            expected = logits_of(made(family, kind)[0], ids, torch.ones_like(ids))[0]
            np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("family", "kind"), [c for c in CASES if c[1] in ("prompt", "prefix", "p_tuning_mlp")])
def test_in_and_out_gives_identical_tensors(family, kind, bases, made, tmp_path):
    adapter = imported(bases, made, family, kind)
    write_peft(adapter, bases(family), tmp_path)
    written, original = load_file(tmp_path / TENSORS), load_file(made(family, kind)[1] / TENSORS)
    assert written.keys() == original.keys()
    assert all(torch.equal(written[name], original[name]) for name in original)
    back = adapter_from_peft(tmp_path, bases(family))
    assert back.description() == adapter.description()
    assert all(torch.equal(back.tensors[name], x) for name, x in adapter.tensors.items())


def ours(base, method, head=None, pooling="start"):
    soft = Prefix([(k[0], v[0]) for k, v in random_prefix(base, 4)]) if method == "prefix" else None
    generator = torch.Generator().manual_seed(2)
    size, classes = base.hidden_size, CLASSES
    head = head or MlpHead(size, classes, size, {"distilbert": "relu", "electra": "gelu"}.get(base.model_type, "tanh"),
                           generator)  # fmt: skip
    torch.nn.init.normal_(head.weight, generator=generator)
    made_of = Tuned(base, soft or Prompt(random_prompt(base, 4)[0]), head, pooling)
    return adapter_from(made_of, task="classify", method=method, labels=("a", "b", "c"))


@pytest.mark.parametrize(
    ("family", "method"),
    [(f, m) for f in FAMILIES for m in ("prompt", "prefix") if m == "prompt" or f not in NO_PREFIX],
)
def test_a_head_that_was_trained_here_computes_the_same_in_peft(family, method, bases, folders, tmp_path):
    base, adapter = bases(family), ours(bases(family), method)
    write_peft(adapter, base, tmp_path)
    model = peft.PeftModel.from_pretrained(theirs(folders(family)), str(tmp_path)).eval()
    ids, mask = batch_of(ids_of(8, 5), base.pad_token_id)
    torch.testing.assert_close(logits_of(model, ids, mask), our_logits(base, adapter, ids, mask), **close)
    back = adapter_from_peft(tmp_path, base, labels=adapter.labels)
    assert back.description() == adapter.description()
    assert all(torch.equal(back.tensors[name], x) for name, x in adapter.tensors.items())


def refused(adapter, base, folder):
    with pytest.raises(AdapterError) as caught:
        write_peft(adapter, base, folder)
    assert not list(folder.iterdir())
    return str(caught.value)


def test_what_peft_cannot_express_is_refused(bases, tmp_path):
    bert, albert = bases("bert"), bases("albert")
    told = refused(ours(bert, "prompt", LinearHead(32, CLASSES)), bert, tmp_path)
    assert told.startswith("PEFT cannot express this adapter: its head is linear") and "--head mlp" in told
    assert "its head reads 'first'" in refused(ours(bert, "prompt", pooling="first"), bert, tmp_path)
    assert "its head reads 'mean'" in refused(ours(bert, "prefix", pooling="mean"), bert, tmp_path)
    assert "no prefix in front of albert" in refused(ours(albert, "prefix"), albert, tmp_path)
    wide = MlpHead(32, CLASSES, 40)
    assert "a hidden layer of 40 with tanh" in refused(ours(bert, "prompt", wide), bert, tmp_path)


def damaged(made, tmp_path, family, change):
    _, folder = made(family, "prompt")
    tensors = change(load_file(folder / TENSORS))
    (tmp_path / "adapter_config.json").write_text((folder / "adapter_config.json").read_text())
    save_file({name: x.contiguous() for name, x in tensors.items()}, tmp_path / TENSORS)
    return tmp_path


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("roberta", lambda t: {k: x for k, x in t.items() if "out_proj" not in k}, "lacks base_model.classifier.out_p"),
        ("bert", lambda t: {**t, "base_model.bert.x": torch.zeros(2)}, "also holds base_model.bert.x: weights of the"),
        ("bert", lambda t: {k: x[:, :9] if k.endswith("r.weight") else x for k, x in t.items()}, "does not fit"),
        ("bert", lambda t: {k: x[:1] if "classifier" in k else x for k, x in t.items()}, "one class: a regression"),
        (
            "bert",
            lambda t: {**t, "base_model.classifier.bias": t["base_model.classifier.bias"] * float("nan")},
            "damaged",
        ),
    ],
)
def test_a_damaged_head_is_refused(family, change, message, bases, made, tmp_path):
    with pytest.raises(AdapterError, match=message):
        adapter_from_peft(damaged(made, tmp_path, family, change), bases(family))


def test_a_family_with_another_classifier_is_refused(bases, made):
    with pytest.raises(AdapterError, match="family 'modernbert'; classifiers go between PEFT and edgetune for bert,"):
        adapter_from_peft(made("modernbert", "prompt")[1], bases("modernbert"))


def test_classes_are_named_by_the_caller_or_by_the_base(bases, made):
    _, folder = made("bert", "prompt")
    assert adapter_from_peft(folder, bases("bert")).labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert adapter_from_peft(folder, bases("bert"), labels=("x", "y", "z")).labels == ("x", "y", "z")
    for wrong in (("x", "y"), ("x", "y", "x")):
        with pytest.raises(AdapterError, match="has 3 classes: --labels wants as many, all different"):
            adapter_from_peft(folder, bases("bert"), labels=wrong)


def test_through_the_command_line(bases, folders, made, tmp_path, capsys):
    _, folder = made("roberta", "prompt")
    main(["import-peft", str(folder), "--labels", "low, mid,high", "--out", str(tmp_path / "ours")])
    adapter = load_adapter(tmp_path / "ours")
    assert adapter.labels == ("low", "mid", "high") and adapter.base_name == folders("roberta")
    main(["export-peft", str(tmp_path / "ours"), "--out", str(tmp_path / "theirs")])
    written, original = ((x / TENSORS).read_bytes() for x in (tmp_path / "theirs", folder))
    assert load_file(tmp_path / "theirs" / TENSORS).keys() == load_file(folder / TENSORS).keys()
    assert json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())["task_type"] == "SEQ_CLS"
    assert len(written) == len(original)


def test_a_random_pooler_is_refused_since_the_next_load_has_another(bases, made, folders, tmp_path, capsys):
    bert = transformers.AutoModel.from_pretrained(folders("bert"), add_pooling_layer=False)
    bert.save_pretrained(tmp_path / "bare")
    bases("bert").tokenizer.save_pretrained(tmp_path / "bare")
    arguments = ["import-peft", made("bert", "prompt")[1], "--model", tmp_path / "bare", "--out", tmp_path / "ours"]
    with pytest.raises(SystemExit):
        main([str(x) for x in arguments])
    told = capsys.readouterr().err.strip()
    assert "relies on the pooler of" in told and "\n" not in told and not (tmp_path / "ours").exists()
    arguments[1] = made("bert", "prompt", "pooler")[1]
    main([str(x) for x in arguments])


def test_labels_for_a_generator_are_refused(base, tmp_path):
    from .test_export import adapter_of

    write_peft(adapter_of(base("llama"), "prompt"), base("llama"), tmp_path)
    with pytest.raises(ConfigError, match="leave --labels out"):
        adapter_from_peft(tmp_path, base("llama"), labels=("a", "b"))
