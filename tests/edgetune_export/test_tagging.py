"""Tags and numbers: torch, both forms of a bundle and the runtime, against heads applied by hand."""

import copy
from dataclasses import replace

import edgetune_runtime
import numpy as np
import onnxruntime
import pytest
import torch
from edgetune_export.addition import add_adapter
from edgetune_export.bundle import export_bundle

from edgetune.adapter import adapter_from, load_adapter, tuned_from
from edgetune.errors import AdapterError
from edgetune.methods.head import LinearHead, MlpHead
from edgetune.methods.scaled import ScaledHead
from edgetune.methods.tuned import Tuned

from .conftest import MASK, made_base, random_adapter, word_tokenizer
from .conftest import rows_of as any_rows

TOLERANCE = 1e-4
FAMILIES = ["BERT", "RoBERTa", "DistilBERT", "ELECTRA", "ModernBERT"]
TAGS = ("B-city", "I-city", "O")
OTHERS = ("noun", "verb", "mark", "other")


@pytest.fixture(scope="module")
def encoder():
    return replace(made_base("BERT"), tokenizer=word_tokenizer())


def rows_of(lengths):
    """Words that the tokenizer has: the mask token is none."""
    return [[10 if i == MASK else i for i in row] for row in any_rows(lengths)]


def headed(base, adapter, head, task, labels=(), pooling="mean"):
    """The same virtual tokens under another head with random weights."""
    tuned = tuned_from(base, adapter)
    for weight in head.parameters():
        torch.nn.init.normal_(weight)
    made = Tuned(base, tuned.soft, head, pooling, labels=labels)
    return adapter_from(made, task=task, method=adapter.method, labels=labels)


def tagger(base, method, length, labels, hidden=0):
    torch.manual_seed(length)
    size, classes = base.hidden_size, len(labels)
    head = MlpHead(size, classes, hidden) if hidden else LinearHead(size, classes)
    return headed(base, random_adapter(base, method, length, 2), head, "tag", labels, "each")


@pytest.fixture(scope="module", params=FAMILIES)
def tagging(request, tmp_path_factory):
    base = replace(made_base(request.param), tokenizer=word_tokenizer())
    adapters = {
        "cities": tagger(base, "prompt", 3, TAGS),
        "words": tagger(base, "prefix", 5, OTHERS),
        "mlp": tagger(base, "prefix", 2, TAGS, hidden=7),
    }
    out = tmp_path_factory.mktemp("bundles") / request.param
    export_bundle(base, adapters, out)
    return base, adapters, edgetune_runtime.load(out)


@torch.no_grad()
def by_hand(base, adapter, row):
    """`[T, C]`: transformers' own last layer over prompt and text, the head a matrix product."""
    model = copy.deepcopy(base.model)
    model.set_attn_implementation("eager")
    prompt = adapter.tensors["prompt_embeds"]
    embeds = torch.cat([prompt, base.embeddings(torch.tensor(row))])[None]
    states = model(inputs_embeds=embeds, attention_mask=torch.ones(1, embeds.shape[1])).last_hidden_state[0]
    return (states[len(prompt) :] @ adapter.tensors["head.weight"].T + adapter.tensors["head.bias"]).numpy()


@torch.no_grad()
def in_torch(base, adapter, row):
    ids = torch.tensor([row])
    return tuned_from(base, adapter).class_logits(ids, torch.ones_like(ids))[0].numpy()


def test_every_token_has_the_logits_of_transformers_under_the_head(tagging):
    base, adapters, model = tagging
    rows = rows_of([5, 11, 1])
    for row, got in zip(rows, model.tag_logits(rows, "cities")):
        assert got.shape == (len(row), len(TAGS))
        np.testing.assert_allclose(got, by_hand(base, adapters["cities"], row), rtol=0, atol=TOLERANCE)


def test_prefixes_and_hidden_layers_tag_as_in_torch(tagging):
    base, adapters, model = tagging
    rows = rows_of([5, 11, 1])
    for name in ("words", "mlp"):
        for row, got in zip(rows, model.tag_logits(rows, name)):
            np.testing.assert_allclose(got, in_torch(base, adapters[name], row), rtol=0, atol=TOLERANCE)


def test_tags_of_different_tasks_share_a_batch(tagging):
    base, adapters, model = tagging
    rows, names = rows_of([5, 14, 1, 9]), ["cities", "words", "mlp", "cities"]
    texts = [" ".join(f"w{i}" for i in row) for row in rows]
    for row, text, name, answer in zip(rows, texts, names, model.tag(texts, adapter=names)):
        logits, labels = in_torch(base, adapters[name], row).astype(float), adapters[name].labels
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        assert answer.words == tuple(text.split())
        assert answer.tags == tuple(labels[i] for i in shares.argmax(1))
        assert answer.scores == pytest.approx(shares.max(1), abs=TOLERANCE)
        if name == "words":
            assert answer.spans == ()
        for span in answer.spans:
            assert span.label == "city" and text[span.start : span.end] == span.text
            assert span.start == 0 or text[span.start - 1] == " "


def test_words_and_their_text_have_the_same_tags(tagging):
    _, _, model = tagging
    words = tuple(f"w{i}" for i in rows_of([8])[0])
    plain, split = model.tag(f"  {'   '.join(words)}\n", adapter="cities"), model.tag(words, adapter="cities")
    assert plain.words == split.words == words
    assert plain.tags == split.tags and plain.scores == pytest.approx(split.scores, abs=1e-6)
    assert [span.label for span in plain.spans] == [span.label for span in split.spans]
    both = model.tag([list(words), " ".join(words), words], adapter="cities")
    assert [answer.tags for answer in both] == [plain.tags] * 3


def test_what_is_no_text_is_refused_and_a_text_without_words_has_no_tags(tagging):
    _, _, model = tagging
    assert model.tag(["", "w5", ()], adapter="cities")[0].words == ()
    with pytest.raises(edgetune_runtime.InputError, match="its words as a tuple of strings"):
        model.tag([[5, 6]], adapter="cities")
    with pytest.raises(edgetune_runtime.TaskError, match=r"'cities' does not classify: it is for 'tag'"):
        model.classify("w5", adapter="cities")


@pytest.mark.parametrize("method, hidden", [("prompt", 0), ("prefix", 0), ("prefix", 7)])
def test_a_tagger_is_folded_into_a_standalone_graph(method, hidden, encoder, tmp_path):
    adapter = tagger(encoder, method, 4, TAGS, hidden)
    export_bundle(encoder, {"task": adapter}, tmp_path / "b", standalone=True)
    session = onnxruntime.InferenceSession(tmp_path / "b" / "model.onnx")
    for row in rows_of([8, 2]):
        feeds = {"input_ids": np.array([row]), "attention_mask": np.ones((1, len(row)), np.int64)}
        expected = in_torch(encoder, adapter, row)
        np.testing.assert_allclose(session.run(None, feeds)[0][0], expected, rtol=0, atol=TOLERANCE)
        text = " ".join(f"w{i}" for i in row)
        tags = edgetune_runtime.load(tmp_path / "b").tag(text).tags
        assert tags == tuple(TAGS[i] for i in expected.argmax(1))


def test_words_behind_the_cut_are_outside(encoder, tmp_path):
    adapter = tagger(encoder, "prefix", 4, TAGS)
    export_bundle(encoder, {"task": adapter}, tmp_path / "b")
    model = edgetune_runtime.load(tmp_path / "b")
    room = encoder.max_positions - 4
    answer = model.tag(tuple(["w50"] * (room + 3)))
    assert answer.tags[room:] == ("O",) * 3 and answer.scores[room:] == (0.0,) * 3
    assert min(answer.scores[:room]) > 0


def test_windows_tag_every_word_as_the_window_does_that_shows_most_around_it(encoder, tmp_path):
    adapter = tagger(encoder, "prefix", 4, OTHERS)
    export_bundle(encoder, {"task": adapter}, tmp_path / "b")
    model = edgetune_runtime.load(tmp_path / "b")
    room, (ids,) = encoder.max_positions - 4, rows_of([encoder.max_positions * 2])
    answer = model.tag(tuple(f"w{i}" for i in ids), windows=True, stride=30)
    starts = [0, (len(ids) - room) // 2, len(ids) - room]
    logits = model.tag_logits([ids[start : start + room] for start in starts])
    for word, (tag, score) in enumerate(zip(answer.tags, answer.scores, strict=True)):
        before = [np.inf if not start else word - start for start in starts]
        behind = [np.inf if start + room == len(ids) else start + room - 1 - word for start in starts]
        margins = [min(pair) for pair in zip(before, behind)]
        best = int(np.argmax(margins))
        shares = np.exp(logits[best][word - starts[best]].astype(np.float64))
        assert tag == OTHERS[shares.argmax()] and score == pytest.approx(shares.max() / shares.sum(), abs=1e-4)
    assert model.tag("w50 w60", windows=True) == model.tag("w50 w60")


def test_a_base_alone_for_tags_is_verified_and_takes_them_later(encoder, tmp_path):
    exported = export_bundle(encoder, {}, tmp_path / "b", task="tag")
    assert len(exported.checks) == 4
    adapter = tagger(encoder, "prefix", 4, TAGS)
    add_adapter(tmp_path / "b", "late", adapter)
    (row,) = rows_of([6])
    got = edgetune_runtime.load(tmp_path / "b").tag_logits([row], "late")[0]
    np.testing.assert_allclose(got, in_torch(encoder, adapter, row), rtol=0, atol=TOLERANCE)


def test_tags_and_classes_are_of_different_base_graphs(encoder, tmp_path):
    adapters = {"tags": tagger(encoder, "prefix", 4, TAGS), "classes": random_adapter(encoder, "prefix", 4, 3)}
    with pytest.raises(AdapterError, match="pooling 'mean' and 'each' cannot share a base graph"):
        export_bundle(encoder, adapters, tmp_path / "b")
    export_bundle(encoder, {"classes": adapters["classes"]}, tmp_path / "b")
    with pytest.raises(edgetune_runtime.AdapterError, match="is for the task 'tag', and this bundle is for 'classify'"):
        add_adapter(tmp_path / "b", "late", adapters["tags"])


@pytest.fixture(scope="module")
def rating(encoder, tmp_path_factory):
    torch.manual_seed(1)
    classes = random_adapter(encoder, "prefix", 4, 3)
    head = ScaledHead(LinearHead(encoder.hidden_size, 1), 20.0, 7.0)
    stars = headed(encoder, random_adapter(encoder, "prompt", 3, 2), head, "regress")
    out = tmp_path_factory.mktemp("bundles") / "rating"
    export_bundle(encoder, {"stars": stars, "classes": classes}, out)
    return head, stars, classes, edgetune_runtime.load(out)


def test_a_regression_answers_in_the_units_of_its_rows(encoder, rating):
    head, stars, _, model = rating
    assert stars.labels == () and stars.tensors["head.weight"].shape == (1, encoder.hidden_size)
    for row in rows_of([5, 1, 9]):
        ids = torch.tensor([row])
        with torch.no_grad():
            scaled = Tuned(encoder, tuned_from(encoder, stars).soft, head, "mean")
            expected = scaled.class_logits(ids, torch.ones_like(ids)).item()
        assert model.regress(row).value == pytest.approx(expected, abs=1e-3)
        assert model.class_logits([row], "stars").shape == (1, 1)


def test_numbers_and_classes_share_a_bundle_and_each_its_own_calls(encoder, rating):
    _, _, classes, model = rating
    assert model.task == "regress" and model.adapters["classes"].task == "classify"
    (row,) = rows_of([6])
    expected = in_torch(encoder, classes, row)
    np.testing.assert_allclose(model.class_logits([row], "classes")[0], expected, rtol=0, atol=TOLERANCE)
    with pytest.raises(edgetune_runtime.TaskError, match="'classes' does not regress"):
        model.regress(row, adapter="classes")
    with pytest.raises(edgetune_runtime.TaskError, match="'stars' does not classify"):
        model.classify(row)
    values = model.regress([row, ("w5", "w6"), "w7 w8"], adapter="stars")
    assert len(values) == 3 and all(isinstance(x.value, float) for x in values)


def test_a_regression_is_folded_into_a_standalone_bundle_and_kept_in_a_folder(encoder, rating, tmp_path):
    _, stars, _, model = rating
    stars.save(tmp_path)
    export_bundle(encoder, {"stars": load_adapter(tmp_path)}, tmp_path / "b", standalone=True)
    alone = edgetune_runtime.load(tmp_path / "b")
    for row in rows_of([5, 2]):
        assert alone.regress(row).value == pytest.approx(model.regress(row).value, abs=1e-3)
