"""Label words against transformers' own masked and causal language models: torch, the runtime, both forms."""

import copy
from dataclasses import replace

import edgetune_runtime
import numpy as np
import onnxruntime
import pytest
import torch
import transformers
from edgetune_export.addition import add_adapter
from edgetune_export.bundle import export_bundle
from edgetune_export.device import device_file
from references.eager import eager_logits

from edgetune.adapter import adapter_from, tuned_from
from edgetune.errors import AdapterError, UnsupportedModelError
from edgetune.methods.prefix import Prefix
from edgetune.methods.prompt import Prompt
from edgetune.methods.tuned import Tuned
from edgetune.methods.words import LabelWords, word_head
from edgetune.models.base import base_from
from edgetune.peft.translation import check_expressible

from .conftest import ENCODERS, MASK, VOCAB, made_base, random_adapter, word_tokenizer
from .conftest import rows_of as any_rows

TOLERANCE = 1e-4
MASKED = ["BERT", "RoBERTa", "DistilBERT", "ALBERT", "ELECTRA", "ModernBERT"]
SPEAKING = ["Llama", "GPT2", "Qwen3"]
TEMPLATE = {"encoder": "w4 {text} w5 {mask} w6", "decoder": "w4 {text} w5"}
PAIRS = {"encoder": "{text} {mask} {text_pair} w6", "decoder": "{text} w7 {text_pair}"}
WORDS = {"mood": ((20,), (21, 22)), "topic": ((30, 31), (32,), (33, 34, 35))}


def filling_base(family):
    """A masked language model whose tokenizer has a mask token."""
    torch.manual_seed(0)
    model = transformers.AutoModelForMaskedLM.from_config(ENCODERS[family]())
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.15) if weight.dim() > 1 else weight.add_(torch.randn_like(weight) * 0.05)
    return base_from(model, word_tokenizer(mask_token="<mask>"), f"tiny {family}", "words")


def word_adapter(base, method, length, ids, template=None):
    torch.manual_seed(length)
    if method == "prefix":
        shapes = [(x.key_value_heads, length, x.head_size) for x in base.layers]
        soft = Prefix([(torch.randn(shape), torch.randn(shape)) for shape in shapes])
    else:
        soft = Prompt(torch.randn(length, base.embedding_size) * base.embeddings.weight.std())
    words = LabelWords(template or TEMPLATE[base.kind], ids)
    labels = tuple(f"label {i}" for i in range(len(ids)))
    head, pooling = (word_head(base, ids), "mask") if base.masked else (None, "mean")
    tuned = Tuned(base, soft, head, pooling, labels=labels, words=words)
    return adapter_from(tuned, task="classify", method=method, labels=labels)


def mean_scores(scores, ids):
    """Of `[V]`, the mean of each label's words."""
    return np.array([scores[list(tokens)].mean() for tokens in ids])


@torch.no_grad()
def masked_scores(base, adapter, row):
    """`[V]` at the mask token, by transformers' own forward under eager attention; the prompt as embeddings."""
    model = copy.deepcopy(base.model)
    model.set_attn_implementation("eager")
    prompt = adapter.tensors["prompt_embeds"]
    embeds = torch.cat([prompt, base.embeddings(torch.tensor(row))])[None]
    logits = model(inputs_embeds=embeds, attention_mask=torch.ones(1, embeds.shape[1])).logits[0]
    return logits[len(prompt) + row.index(MASK)].numpy()


@pytest.fixture(scope="module", params=MASKED)
def filling(request, tmp_path_factory):
    base = filling_base(request.param)
    adapters = {
        "mood": word_adapter(base, "prompt", 6, WORDS["mood"]),
        "topic": word_adapter(base, "prefix", 4, WORDS["topic"]),
        "pairs": word_adapter(base, "prompt", 3, WORDS["topic"], PAIRS["encoder"]),
    }
    out = tmp_path_factory.mktemp("bundles") / request.param
    export_bundle(base, adapters, out)
    return base, adapters, edgetune_runtime.load(out)


@pytest.fixture(scope="module", params=SPEAKING)
def speaking(request, tmp_path_factory):
    base = replace(made_base(request.param), tokenizer=word_tokenizer())
    adapters = {
        "mood": word_adapter(base, "prompt", 3, WORDS["mood"]),
        "topic": word_adapter(base, "prefix", 4, WORDS["topic"]),
        "pairs": word_adapter(base, "prefix", 2, WORDS["mood"], PAIRS["decoder"]),
        "writer": random_adapter(base, "prefix", 5),
    }
    out = tmp_path_factory.mktemp("bundles") / request.param
    export_bundle(base, adapters, out)
    return base, adapters, edgetune_runtime.load(out)


def rows_of(lengths):
    """Without the mask token."""
    return [[10 if i == MASK else i for i in row] for row in any_rows(lengths)]


def text_of(ids):
    return " ".join(f"w{i}" for i in ids)


def shares(logits):
    weights = np.exp(logits.astype(float))
    return weights / weights.sum()


def agrees(answer, logits):
    assert answer.scores == pytest.approx({f"label {i}": p for i, p in enumerate(shares(logits))}, abs=TOLERANCE)


def test_a_masked_model_scores_words_as_transformers_does_at_the_mask(filling):
    base, adapters, model = filling
    for text in rows_of([5, 11, 1]):
        expected = mean_scores(masked_scores(base, adapters["mood"], [4, *text, 5, MASK, 6]), WORDS["mood"])
        agrees(model.classify(text_of(text), adapter="mood"), expected)
        got = model.class_logits([[4, *text, 5, MASK, 6]], "mood")[0]
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)


def test_a_masked_model_takes_pairs_where_its_template_has_a_place(filling):
    base, adapters, model = filling
    first, second = rows_of([4, 7])
    expected = mean_scores(masked_scores(base, adapters["pairs"], [*first, MASK, *second, 6]), WORDS["topic"])
    agrees(model.classify((text_of(first), text_of(second)), adapter="pairs"), expected)


def test_tasks_of_label_words_share_a_batch(filling):
    base, adapters, model = filling
    texts, names = [text_of(row) for row in rows_of([5, 14, 1, 9])], ["mood", "topic", "topic", "mood"]
    for text, name, answer in zip(texts, names, model.classify(texts, adapter=names)):
        alone = model.classify(text, adapter=name)
        assert answer.scores == pytest.approx(alone.scores, abs=TOLERANCE)
    for ids, name in zip(rows_of([5, 14]), ["mood", "topic"]):
        row = torch.tensor([[4, *ids, 5, MASK, 6]])
        with torch.no_grad():
            expected = tuned_from(base, adapters[name]).class_logits(row, torch.ones_like(row))[0].numpy()
        agrees(model.classify(text_of(ids), adapter=name), expected)


def test_a_decoder_scores_the_words_that_may_come_next(speaking):
    base, adapters, model = speaking
    for name in ("mood", "topic"):
        for text in rows_of([5, 1, 12]):
            logits = eager_logits(base, adapters[name], [4, *text, 5])[-1].numpy()
            agrees(model.classify(text_of(text), adapter=name), mean_scores(logits, WORDS[name]))


def test_a_decoder_takes_pairs_where_its_template_has_a_place(speaking):
    base, adapters, model = speaking
    first, second = rows_of([4, 7])
    logits = eager_logits(base, adapters["pairs"], [*first, 7, *second])[-1].numpy()
    agrees(model.classify((text_of(first), text_of(second)), adapter="pairs"), mean_scores(logits, WORDS["mood"]))


def test_classifying_tasks_of_a_decoder_share_a_batch_and_a_bundle_with_generating_ones(speaking):
    base, adapters, model = speaking
    rows, names = rows_of([5, 14, 1, 9] * 5), ["mood", "topic", "topic", "mood"] * 5
    for ids, name, answer in zip(rows, names, model.classify(list(map(text_of, rows)), adapter=names)):
        logits = eager_logits(base, adapters[name], [4, *ids, 5])[-1].numpy()
        agrees(answer, mean_scores(logits, WORDS[name]))
    assert len(model.generate(rows[0], adapter="writer", max_new_tokens=4, min_new_tokens=4).token_ids) == 4
    assert {name: info.task for name, info in model.adapters.items()}["writer"] == "generate"


def test_an_adapter_is_asked_for_its_own_task_alone(speaking):
    _, _, model = speaking
    with pytest.raises(edgetune_runtime.TaskError, match=r"'mood' does not generate: .*'writer'"):
        model.generate("w4", adapter="mood")
    with pytest.raises(edgetune_runtime.TaskError, match=r"'writer' does not classify: .*'mood', 'topic', 'pairs'"):
        model.classify("w4", adapter="writer")
    with pytest.raises(edgetune_runtime.TaskError, match="holds no encoder, so it does not tag"):
        model.tag("w4", adapter="mood")


def test_members_of_an_ensemble_read_the_words_of_one_task(speaking, tmp_path):
    base, adapters, _ = speaking
    team = {"a": adapters["mood"], "b": word_adapter(base, "prefix", 2, WORDS["mood"])}
    export_bundle(base, team, tmp_path / "b")
    model, text = edgetune_runtime.load(tmp_path / "b"), text_of(rows_of([6])[0])
    each = [model.classify(text, adapter=name).scores for name in team]
    mean = {label: (each[0][label] + each[1][label]) / 2 for label in each[0]}
    assert model.classify(text, ensemble=["a", "b"]).scores == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("family, name", [("BERT", "prefix"), ("ModernBERT", "prompt"), ("Llama", "prefix")])
def test_label_words_are_folded_into_a_standalone_bundle(family, name, tmp_path):
    base = replace(made_base(family), tokenizer=word_tokenizer()) if family in SPEAKING else filling_base(family)
    adapter = word_adapter(base, name, 4, WORDS["topic"])
    export_bundle(base, {"shared": adapter}, tmp_path / "shared")
    export_bundle(base, {"alone": adapter}, tmp_path / "alone", standalone=True)
    shared, alone = (edgetune_runtime.load(tmp_path / form) for form in ("shared", "alone"))
    texts = [text_of(row) for row in rows_of([5, 2, 9])]
    for expected, got in zip(shared.classify(texts), alone.classify(texts)):
        assert got.scores == pytest.approx(expected.scores, abs=TOLERANCE)


def test_a_standalone_encoder_of_label_words_is_a_plain_classifier(tmp_path):
    base = filling_base("BERT")
    adapter = word_adapter(base, "prompt", 4, WORDS["mood"])
    export_bundle(base, {"alone": adapter}, tmp_path / "b", standalone=True)
    session = onnxruntime.InferenceSession(tmp_path / "b" / "model.onnx")
    row = [4, 50, 60, 5, MASK, 6]
    (logits,) = session.run(None, {"input_ids": np.array([row]), "attention_mask": np.ones((1, 6), np.int64)})
    expected = mean_scores(masked_scores(base, adapter, row), WORDS["mood"])
    np.testing.assert_allclose(logits[0], expected, rtol=0, atol=TOLERANCE)


def test_a_text_that_is_too_long_is_cut_and_the_template_is_not(caplog, tmp_path):
    base = filling_base("BERT")
    base.model.config.max_position_embeddings = 20
    export_bundle(base, {"a": word_adapter(base, "prompt", 6, WORDS["mood"])}, tmp_path / "b")
    model = edgetune_runtime.load(tmp_path / "b")
    long, short = list(range(40, 90)), list(range(40, 50))  # 20 positions, 6 virtual tokens, 4 of the template
    assert model.classify(text_of(long)).scores == pytest.approx(model.classify(text_of(short)).scores, abs=1e-6)
    assert any(told.startswith("a text of 54 tokens was cut to 14") for told in caplog.messages)
    places = [(0, 10), (8, 18), (16, 26), (24, 34), (32, 42), (40, 50)]
    pieces = model.classify([text_of(long[a:b]) for a, b in places])
    found = model.classify(text_of(long), windows="mean", stride=2)
    assert found.scores == pytest.approx({x: np.mean([y.scores[x] for y in pieces]) for x in found.scores}, abs=1e-6)


def test_what_a_template_does_not_take_is_refused(filling):
    _, _, model = filling
    with pytest.raises(edgetune_runtime.InputError, match=r"is a pair, and the template of 'mood' takes one text"):
        model.classify(("w4", "w5"), adapter="mood")
    with pytest.raises(edgetune_runtime.InputError, match=r"is one text, and the template of 'pairs' takes a pair"):
        model.classify("w4", adapter="pairs")
    with pytest.raises(edgetune_runtime.InputError, match="holds 2 mask tokens, and 'mood' reads exactly one"):
        model.classify([4, MASK, 5, MASK], adapter="mood")


def test_mask_tokens_of_a_text_are_left_out(filling):
    _, _, model = filling
    asked, plain = (model.classify(text, adapter="mood").scores for text in ("w50 <mask> w51", "w50 w51"))
    assert asked == pytest.approx(plain, abs=1e-6)


def test_label_words_and_other_heads_are_of_different_base_graphs(tmp_path):
    base = filling_base("BERT")
    other = random_adapter(base, "prefix", 3, 2)
    with pytest.raises(AdapterError, match="cannot share a base graph"):
        export_bundle(base, {"words": word_adapter(base, "prefix", 3, WORDS["mood"]), "head": other}, tmp_path / "b")


def test_a_masked_base_alone_is_verified_and_takes_label_words_later(tmp_path):
    base = filling_base("ELECTRA")
    exported = export_bundle(base, {}, tmp_path / "b", task="words")
    assert len(exported.checks) == 4 and base.hidden_size == 32
    add_adapter(tmp_path / "b", "late", word_adapter(base, "prompt", 3, WORDS["mood"]))
    row = [4, 50, 5, MASK, 6]
    expected = mean_scores(masked_scores(base, word_adapter(base, "prompt", 3, WORDS["mood"]), row), WORDS["mood"])
    np.testing.assert_allclose(
        edgetune_runtime.load(tmp_path / "b").class_logits([row])[0], expected, rtol=0, atol=TOLERANCE
    )


def test_peft_has_no_label_words():
    base = filling_base("BERT")
    with pytest.raises(AdapterError, match=r"PEFT cannot express this adapter: .* not label words"):
        check_expressible(word_adapter(base, "prefix", 3, WORDS["mood"]))


def test_a_family_that_changes_the_scores_behind_its_head_is_refused():
    small = dict(hidden_size=32, embedding_size=16, intra_bottleneck_size=16, intermediate_size=32, vocab_size=VOCAB)
    config = transformers.MobileBertConfig(num_hidden_layers=2, num_attention_heads=2, true_hidden_size=16, **small)
    with pytest.raises(UnsupportedModelError, match="use --head linear"):
        base_from(
            transformers.AutoModelForMaskedLM.from_config(config), word_tokenizer(mask_token="<mask>"), "m", "words"
        )


def test_words_outside_of_the_vocabulary_are_refused(tmp_path):
    base = filling_base("BERT")
    export_bundle(base, {"a": word_adapter(base, "prefix", 3, WORDS["mood"])}, tmp_path / "b")
    model = edgetune_runtime.load(tmp_path / "b")
    adapter = word_adapter(base, "prefix", 3, WORDS["mood"])
    for change, told in (
        ({"label_words": ((VOCAB,), (1,))}, "label words outside of the base's vocabulary"),
        ({"template": "no place"}, "`template` should be a text that holds {text} once"),
        ({"label_words": ((1,),)}, "`label_words` should be 2 lists, one for each label"),
        ({"label_words": (), "template": ""}, "has no label words"),
    ):
        (tmp_path / "x.safetensors").write_bytes(device_file("x", replace(adapter, **change), base))
        with pytest.raises(edgetune_runtime.AdapterError, match=told):
            model.add_adapter(tmp_path / "x.safetensors")
